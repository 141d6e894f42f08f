"""Collecting all problems of the input, so that a user can fix them at once."""

from __future__ import annotations

from pathlib import Path

from infra import object_storage
from infra.errors import Problem

LIMIT = 20
"""Most problems of one kind in one file that are listed; the others are counted."""


class ProblemList:
    """Problems in the order of their discovery, grouped by file, field and kind."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], list[Problem]] = {}
        self._counts: dict[tuple[str, str, str], int] = {}

    def add(self, uri: str, field: str, message: str, remedy: str, *, line: int | None = None, kind: str = "") -> None:
        """Add a problem.

        Args:
            uri: file with the problem.
            field: field or column; empty for the whole file.
            message: what is wrong.
            remedy: what to do about it.
            line: line or row of the file, from 1.
            kind: kind of problem, of which only the first ``LIMIT`` are listed; default: the message.
        """
        key = (uri, field, kind or message)
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        if count < LIMIT:
            file = shown(uri) if line is None else f"{shown(uri)}:{line}"
            self._groups.setdefault(key, []).append(Problem(file, field, message, remedy))

    def __bool__(self) -> bool:
        return bool(self._groups)

    def collected(self) -> list[Problem]:
        """Return the problems; a kind with more than ``LIMIT`` ends with a count of the others."""
        problems: list[Problem] = []
        for (uri, field, kind), group in self._groups.items():
            problems += group
            more = self._counts[uri, field, kind] - len(group)
            if more:
                problems.append(Problem(shown(uri), field, f"and {more} more like this", group[-1].remedy))
        return problems


def shown(uri: str) -> str:
    """Return a file's name for messages: relative if it is below the working directory."""
    if object_storage.is_s3(uri):
        return uri
    path = Path(uri)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else uri
