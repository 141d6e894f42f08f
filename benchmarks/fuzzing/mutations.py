"""Recordings as they are found: cut, spliced, tagged, unfinished, with false headers and flipped bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from benchmarks.fuzzing.recordings import Seed

_HEADER_BYTES: Final = 80
_NUMBERS: Final = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFF000)
_ID3: Final = b"ID3\x04\x00\x00\x00\x00\x00\x14" + bytes(20)
_TAGS: Final = (_ID3, _ID3 + _ID3, b"\0" * 100, b"junk", b"<html>", b"\xff" * 50)
_BEHIND: Final = (b"TAG" + bytes(125), b"\0" * 1000, b"junk", b"\xff\xfb\x90\x00" * 30)


class Mutated(NamedTuple):
    """What became of a seed, and how much of it is left if nothing but its end is missing."""

    data: bytes
    seed: Seed
    left: int | None


def mutated(pool: Sequence[Seed], random: np.random.Generator) -> Mutated:
    """A seed of the pool that was changed in one to four ways."""
    seed = _any(pool, random)
    if random.random() < 0.15:
        left = int(random.integers(1, len(seed.data)))
        return Mutated(seed.data[:left], seed, left)
    data = bytearray(seed.data)
    for _ in range(random.integers(1, 5)):
        _MUTATIONS[int(random.integers(len(_MUTATIONS)))](data, pool, random)
    return Mutated(bytes(data), seed, None)


def _any(pool: Sequence[Seed], random: np.random.Generator) -> Seed:
    return pool[int(random.integers(len(pool)))]


def _flip(data: bytearray, _: Sequence[Seed], random: np.random.Generator) -> None:
    for _bit in range(random.integers(1, 8)):
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))


def _set_header(data: bytearray, _: Sequence[Seed], random: np.random.Generator) -> None:
    width = int(random.choice([1, 2, 4, 8]))
    place = int(random.integers(max(1, min(_HEADER_BYTES, len(data)))))
    value = int(random.choice(_NUMBERS)) if random.random() < 0.7 else int(random.integers(1 << 32))
    number = (value % (1 << 8 * width)).to_bytes(width, "little")
    data[place : place + width] = number if random.random() < 0.7 else number[::-1]


def _set_anywhere(data: bytearray, _: Sequence[Seed], random: np.random.Generator) -> None:
    place, width = int(random.integers(len(data))), int(random.integers(1, 40))
    data[place : place + width] = random.bytes(width)


def _cut(data: bytearray, _: Sequence[Seed], random: np.random.Generator) -> None:
    if len(data) > 2:
        del data[random.integers(1, len(data)) :]


def _remove(data: bytearray, _: Sequence[Seed], random: np.random.Generator) -> None:
    place = int(random.integers(len(data)))
    if len(data) > 300:
        del data[place : place + int(random.integers(1, 200))]


def _repeat(data: bytearray, _: Sequence[Seed], random: np.random.Generator) -> None:
    place = int(random.integers(len(data)))
    data[place:place] = data[place : place + int(random.integers(1, 2000))]


def _splice(data: bytearray, pool: Sequence[Seed], random: np.random.Generator) -> None:
    other = _any(pool, random).data
    data[random.integers(len(data)) :] = other[random.integers(len(other)) :]


def _join(data: bytearray, pool: Sequence[Seed], random: np.random.Generator) -> None:
    data += _any(pool, random).data if random.random() < 0.5 else bytes(data)


def _tag(data: bytearray, _: Sequence[Seed], random: np.random.Generator) -> None:
    if random.random() < 0.6:
        data[:0] = _TAGS[random.integers(len(_TAGS))]
    else:
        data += _BEHIND[random.integers(len(_BEHIND))]


def _forget_size(data: bytearray, _: Sequence[Seed], random: np.random.Generator) -> None:
    """As of a writer that could not go back."""
    place = data.find(b"data")
    value = int(random.choice([0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])).to_bytes(4, "little")
    if place >= 0:
        data[place + 4 : place + 8] = value
    elif data.startswith(b"fLaC"):
        data[21] &= 0xF0
        data[22:26] = bytes(4) if random.random() < 0.7 else random.bytes(4)


_MUTATIONS: Final = (
    _flip, _set_header, _set_header, _set_header, _set_anywhere, _cut, _remove, _repeat, _splice, _join, _tag,
    _forget_size,
)  # fmt: skip
