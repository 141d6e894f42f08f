"""Tables of manifests, with the line of every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from task_specs.problems import ProblemList

MAX_TEXT_BYTES = 1 << 30
"""Most bytes of a text table."""
MAX_ROWS = 10_000_000
"""Most rows of a table, which bounds its memory however small the file is."""


@dataclass(frozen=True)
class Table:
    """A manifest's table.

    Attributes:
        header: names of all columns of the file.
        columns: names of the columns read, in the order of their cells.
        rows: line or row number, from 1, and one cell per column; ``None`` for a missing cell.
        complete: whether every row could be read.
        decimal_comma: whether numbers may have a decimal comma.
        recordings: columns that hold recordings, or paths instead.
    """

    header: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[tuple[int, Sequence[object]]]
    complete: bool = True
    decimal_comma: bool = False
    recordings: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Wanted:
    """Columns to read from a table.

    Args:
        names: names of the columns, in any case.
        recordings: names of columns that may hold recordings instead of paths.
    """

    names: frozenset[str]
    recordings: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], *, recordings: Iterable[str] = ()) -> Wanted:
        return cls(frozenset(map(plain, names)), frozenset(map(plain, recordings)))

    def within(self, header: Iterable[str]) -> list[str]:
        """Return the names in ``header`` that are wanted."""
        return [name for name in header if plain(name) in self.names or plain(name) in self.recordings]


def plain(name: str) -> str:
    """Return a column's name without case and surrounding space, for finding columns."""
    return name.strip("\ufeff\u200b \t\r\n\xa0").casefold()


def distinct(columns: Sequence[str], uri: str, line: int | None, problems: ProblemList) -> bool:
    """Report columns with the same name; return whether there are none."""
    twice = sorted(name for name, count in Counter(columns).items() if count > 1)
    for name in twice:
        problems.add(uri, name, "there are two columns of this name", "rename one of them", line=line, kind="twice")
    return not twice


def few_enough(count: int, uri: str, problems: ProblemList) -> bool:
    """Report a table with too many rows; return whether it has few enough."""
    if count > MAX_ROWS:
        problems.add(uri, "", f"has more than {MAX_ROWS:,} rows, the limit", "use a part of it")
    return count <= MAX_ROWS
