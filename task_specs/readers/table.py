"""Reads a table from delimited text, JSON or Parquet, with the line of every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from task_specs.problems import ProblemList

MAX_TEXT_BYTES = 1 << 30
"""Of a table that is text."""
MAX_ROWS = 10_000_000
"""Of any table: what it takes in memory has a bound, however few bytes a file spends on a row."""


@dataclass(frozen=True)
class Table:
    """The rows of a manifest.

    Attributes:
        header: names of all columns of the file.
        columns: those that were asked for, in the order of their cells.
        rows: line or row number, from 1, and one cell a column; ``None`` where a row has none.
        complete: whether every row could be read.
        decimal_comma: whether its numbers may have a comma before their decimals.
        recordings: columns that hold recordings, or paths in their place.
    """

    header: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[tuple[int, Sequence[object]]]
    complete: bool = True
    decimal_comma: bool = False
    recordings: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Wanted:
    """The columns of a table that its reader looks at.

    Args:
        names: theirs, in any case.
        recordings: those that may hold whole recordings in place of their paths.
    """

    names: frozenset[str]
    recordings: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], *, recordings: Iterable[str] = ()) -> Wanted:
        return cls(frozenset(map(plain, names)), frozenset(map(plain, recordings)))

    def within(self, header: Iterable[str]) -> list[str]:
        """The names in ``header`` that are wanted."""
        return [name for name in header if plain(name) in self.names or plain(name) in self.recordings]


def plain(name: str) -> str:
    """A column's name without case and space at either end, by which one is found that is spelled otherwise."""
    return name.strip("\ufeff\u200b \t\r\n\xa0").casefold()


def distinct(columns: Sequence[str], uri: str, line: int | None, problems: ProblemList) -> bool:
    """Whether no two columns have the same name; those that do are noted."""
    twice = sorted(name for name, count in Counter(columns).items() if count > 1)
    for name in twice:
        problems.add(uri, name, "there are two columns of this name", "rename one of them", line=line, kind="twice")
    return not twice


def few_enough(count: int, uri: str, problems: ProblemList) -> bool:
    """Whether a table of so many rows is read; otherwise that is noted."""
    if count > MAX_ROWS:
        problems.add(uri, "", f"has more than the {MAX_ROWS:,} rows that are read", "use a part of it")
    return count <= MAX_ROWS
