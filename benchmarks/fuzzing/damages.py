"""What happens to stored files: bits flip, ends are missing, and somebody who knows how they are built edits them."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from benchmarks.fuzzing.stored_kind import Files, Odd
from tests.fixtures.mutations import HOSTILE_VALUES

_NUMBERS: Final = (0, -1, 1, 2, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30)
_WORDS: Final = (
    *HOSTILE_VALUES,
    *_NUMBERS,
    0.5,
    -0.0,
    1e-320,
    1e400,
    float("nan"),
    "F16",
    "BF16",
    "F32",
    "U64",
    [0, 8],
)
_LONGEST_BYTES: Final = 1 << 20


def damage(files: Files, others: Files, random: Random) -> list[str]:
    """Change the files in one to three ways; returns what these are called.

    Args:
        files: of one thing; some may be missing afterwards.
        others: of another thing of the same kind.
        random: decides.
    """
    return [
        _damage_places(files, others, random) if random.random() < 0.15 else _damage_content(files, random)
        for _ in range(random.choice((1, 1, 1, 2, 3)))
    ]


def _damage_places(files: Files, others: Files, random: Random) -> str:
    change = random.choice(_OF_PLACES)
    change(files, others, random)
    return change.__name__.strip("_")


def _damage_content(files: Files, random: Random) -> str:
    change = random.choice(_OF_CONTENTS)
    contents = {name: data for name, data in files.items() if isinstance(data, bytes)}
    if contents:
        name = random.choice(sorted(contents))
        files[name] = change(contents[name], random)[:_LONGEST_BYTES]
    return change.__name__.strip("_")


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8)) if data else 0):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _grow(data: bytes, random: Random) -> bytes:
    return data + random.choice((data, b"\n", b" ", b"\0", bytes(random.randrange(1 << 17)), random.randbytes(40)))


def _overwrite(data: bytes, random: Random) -> bytes:
    begin = random.randrange(len(data) + 1)
    piece = random.choice(
        (random.randbytes(8), b"\0" * 40, b"\xff" * 8, b'"', b"\\", b"{", b"\xed\xa0\x80", b"9" * 30, b"[" * 5000)
    )
    return data[:begin] + piece + data[begin + len(piece) :]


def _remove(data: bytes, random: Random) -> bytes:
    begin = random.randrange(len(data) + 1)
    return data[:begin] + data[begin + random.randrange(1, 64) :]


def _repeat(data: bytes, random: Random) -> bytes:
    begin = random.randrange(len(data) + 1)
    piece = data[begin : begin + random.randrange(1, 64)]
    return data[:begin] + piece * random.choice((2, 2, 2, 3, 1000)) + data[begin + len(piece) :]


def _exchange(data: bytes, random: Random) -> bytes:
    """Two pieces of the same length change places."""
    size = random.choice((1, 4, 8, 16, 64))
    if len(data) < 2 * size:
        return data
    one, two = sorted((random.randrange(len(data) - size + 1), random.randrange(len(data) - size + 1)))
    if two - one < size:
        return data
    return data[:one] + data[two : two + size] + data[one + size : two] + data[one : one + size] + data[two + size :]


def _edit_document(data: bytes, random: Random) -> bytes:
    """A value of a JSON document is dropped, doubled under its name, buried, or another one."""
    try:
        return _with_edits(data, random)
    except (ValueError, RecursionError):
        return _flip(data, random)


def _edit_header(data: bytes, random: Random) -> bytes:
    """The same in the header of a safetensors file, whose length may then be right or not."""
    size = int.from_bytes(data[:8], "little")
    try:
        header = _with_edits(data[8 : 8 + size], random)
    except (ValueError, RecursionError):
        return _edit_document(data, random)
    if random.random() < 0.1:
        header += b" " * random.choice((1, 8, 70_000, 600_000))
    stated = random.choice(_NUMBERS) if random.random() < 0.1 else len(header)
    return (stated % 2**64).to_bytes(8, "little") + header + data[8 + size :]


def _with_edits(text: bytes, random: Random) -> bytes:
    document = json.loads(text)
    for _ in range(random.choice((1, 1, 2, 4))):
        document = _edited(document, random)
    edited = json.dumps(document)
    if random.random() < 0.1 and edited.startswith("{") and len(edited) > 2:
        # All of its members twice: parsers differ in which of them counts.
        edited = f"{edited[:-1]}, {json.dumps(_edited(document, random))[1:]}"
    return edited.encode()


def _edited(value: Any, random: Random) -> Any:
    if not isinstance(value, dict | list) or not value or random.random() < 0.1:
        return random.choice((_word, _buried, _near))(value, random)
    members = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    key = random.choice(list(members))
    if random.random() < 0.1:
        del members[key]
    elif random.random() < 0.05:
        members[
            random.choice(("", "x", "\x1b[2J", "__metadata__", "constructor")) if isinstance(value, dict) else -1
        ] = 1
    else:
        members[key] = _edited(members[key], random)
    return members if isinstance(value, dict) else list(members.values())


def _word(_: Any, random: Random) -> Any:
    return random.choice(_WORDS)


def _buried(value: Any, random: Random) -> Any:
    for _ in range(random.choice((1, 2, 70, 200))):
        value = [value]
    return value


def _near(value: Any, random: Random) -> Any:
    """A value that differs little from a right one."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + random.choice((-1, 1, 2**32))
    if isinstance(value, float):
        return value * random.choice((-1.0, 1.0000001, 1e300))
    if isinstance(value, str):
        return value[:-1] if random.random() < 0.5 else value + random.choice(("0", "\u202e", "\n", "\udc80", "/../x"))
    return [*value, *value] if isinstance(value, list) else {**value, "x": dict(value)}


def _lose(files: Files, _: Files, random: Random) -> None:
    if files:
        del files[random.choice(sorted(files))]


def _replace(files: Files, _: Files, random: Random) -> None:
    """Something else that has a name stands in a file's place."""
    if files:
        files[random.choice(sorted(files))] = random.choice(list(Odd))


def _mix(files: Files, others: Files, random: Random) -> None:
    """Files of the other thing lie where the same ones of this were."""
    both = list(zip(sorted(files), sorted(others), strict=False))
    for name, other in random.sample(both, random.randint(1, len(both))) if both else ():
        files[name] = others[other]


def _exchange_files(files: Files, _: Files, random: Random) -> None:
    if len(files) > 1:
        one, two = random.sample(sorted(files), 2)
        files[one], files[two] = files[two], files[one]


def _graft(files: Files, others: Files, random: Random) -> None:
    """Files of the other thing are copied into a directory of this one, beside or over what lies there."""
    places = {name.rpartition("/")[0] for name in files}
    places |= {place.rpartition("/")[0] for place in places} | {""}
    place, flat = random.choice(sorted(places)), random.random() < 0.5
    for name, data in others.items():
        kept = name.rpartition("/")[2] if flat else name
        target = f"{place}/{kept}".lstrip("/")
        if random.random() < 0.9 and not _in_the_way(target, files):
            files[target] = data


def _in_the_way(target: str, files: Files) -> bool:
    """Whether a file would lie in a file, or where a directory is."""
    return any(name.startswith(f"{target}/") or target.startswith(f"{name}/") for name in files)


_OF_CONTENTS: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (
    _flip, _cut, _grow, _overwrite, _remove, _repeat, _exchange, _edit_document, _edit_document, _edit_header,
    _edit_header,
)  # fmt: skip
_OF_PLACES: Final[tuple[Callable[[Files, Files, Random], None], ...]] = (
    _lose, _replace, _mix, _mix, _exchange_files, _graft, _graft,
)  # fmt: skip
