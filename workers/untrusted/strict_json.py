"""JSON as it is meant: one value per name, finite numbers, UTF-8, and no more of it than a reader can bear."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

DEEPEST: Final = 64
"""Lists and objects within each other; what this product writes has no more than a dozen."""
MOST_VALUES: Final = 1_500_000


def loads(data: bytes, *, values: int = MOST_VALUES) -> Any:
    """Parse a document that may come from anybody.

    A repeated name is refused because parsers disagree about which value counts: one program could check one of
    them and another use the other.

    Args:
        data: the document.
        values: it may hold about so many; a byte of JSON can become a hundred in memory.

    Raises:
        ValueError: not UTF-8, not JSON, a name twice in an object, half of a surrogate pair, a number that is not
            finite, or too deep; or it holds more values.
    """
    # Commas and brackets in strings are counted too: that costs a document of odd labels some of its allowance.
    if sum(map(data.count, (b",", b"[", b"{"))) > values:
        raise ValueError(f"it holds more than {values} values")
    try:
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _check_depth(document)
    if b"\\u" in data:
        # An escaped half of a surrogate pair is text that cannot be written, digested or shown.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


def _check_depth(document: Any) -> None:
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(DEEPEST + 1):
        containers = (value.values() if isinstance(value, dict) else value for value in level)
        level = [value for container in containers for value in container if isinstance(value, dict | list)]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"it says {name[:40]!r} twice")
            seen.add(name)
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
