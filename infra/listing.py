"""Lists in messages."""

from __future__ import annotations

from collections.abc import Sequence


def first_of(items: Sequence[str], most: int, between: str = ", ") -> str:
    """The first few of the items, and how many more there are: ``a, b (and 3 more)``."""
    more = f" (and {len(items) - most} more)" if len(items) > most else ""
    return between.join(items[:most]) + more
