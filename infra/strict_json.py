"""JSON as it is meant: one value per name, finite numbers, UTF-8."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def loads(data: bytes) -> Any:
    """Parse a document that may come from anybody.

    A repeated name is refused because parsers disagree about which value counts: one program could check one of
    them and another use the other.

    Raises:
        ValueError: not UTF-8, not JSON, a name twice in an object, a number that is not finite, or too deep.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it says {twice[:40]!r} twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
