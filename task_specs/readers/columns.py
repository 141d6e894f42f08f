"""Columns of a manifest and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from task_specs.problems import ProblemList
from task_specs.readers.conventions import FOREIGN_NAMES, Column, convention_of
from task_specs.readers.table import Wanted, plain
from task_specs.validation import suggestion

Input = Literal["path", "units", "frame_units"]
INPUTS: tuple[Input, ...] = ("path", "units", "frame_units")


@dataclass(frozen=True)
class Found:
    """Columns found in a file.

    Attributes:
        input: column that holds the input.
        names: names in the file of the columns found.
        labels: names in the file of the label columns, in the order of the slots.
        convention: toolkit whose names some columns have; empty for none.
    """

    input: Input
    names: Mapping[Column, str]
    labels: tuple[str, ...]
    convention: str = ""


_TIMES: Mapping[Column, tuple[str, ...]] = MappingProxyType(
    {
        "start": ("start_time", "start_s", "start_sec", "start_seconds", "begin", "begin_time", "onset", "offset"),
        "end": ("end_time", "end_s", "end_sec", "end_seconds", "stop", "stop_time", "offset"),
    }
)
"""Other common names for the times of a clip."""


class Columns(BaseModel):
    """Names of columns that differ from the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = Field(None, min_length=1)
    """Path of the audio file, relative to the root."""
    units: str | None = Field(None, min_length=1)
    """Unit numbers without adjacent repeats."""
    frame_units: str | None = Field(None, min_length=1)
    """One unit number per frame."""
    split: str | None = Field(None, min_length=1)
    start: str | None = Field(None, min_length=1)
    """Start in seconds."""
    end: str | None = Field(None, min_length=1)
    """End in seconds."""
    speaker: str | None = Field(None, min_length=1)

    def of(self, column: Column) -> str:
        """Return the name of ``column`` in a file that follows no other toolkit's convention."""
        name: str | None = getattr(self, column, None)
        return name or column

    def wanted(self, labels: Sequence[str]) -> Wanted:
        """Return all columns that may be read from a manifest."""
        named = [name for name in self.model_dump().values() if name]
        return Wanted.of(
            [*labels, *named, *type(self).model_fields, *FOREIGN_NAMES], recordings=[self.path or "audio", "audio"]
        )

    def find(
        self,
        header: Sequence[str],
        *,
        labels: Sequence[str],
        needs_split: bool,
        uri: str,
        problems: ProblemList,
        recordings: bool = False,
    ) -> Found | None:
        """Find the columns, or report those that ``header`` lacks or that are ambiguous.

        Names are matched exactly first, then without case and surrounding space. Default names go before those of other
        toolkits.

        Args:
            header: names of the file's columns.
            labels: names of the label columns.
            needs_split: whether a split column is required.
            uri: URI of the file.
            problems: list for problems.
            recordings: whether a column ``audio`` holds recordings or their paths, and goes before ``path``.
        """
        convention = convention_of(header)
        told = self.start if convention is not None and convention.where else self.path
        if convention is not None and convention.refusal is not None and not told:
            problems.add(uri, "", *convention.refusal, line=1)
            return None
        spelled = _Header(header)
        needed = [*labels, *(name for name in self.model_dump().values() if name)]
        needed += [self.of("split")] if needs_split else []
        sound = True
        for name in dict.fromkeys(needed):
            if spelled.find(name) is None:
                hint = suggestion(name, header)
                remedy = f"{hint} Otherwise add the column" if hint.endswith("?") else f"{hint}, or add the column"
                if name == "split" and needs_split:
                    remedy += ", or name one file a split: 'path: {train: ..., valid: ..., test: ...}'"
                problems.add(uri, name, "there is no such column", remedy, line=1)
                sound = False
        own = {column: spelled.find(self.of(column)) for column in get_args(Column) if column != "duration"}
        if own["start"] and not own["end"]:
            # With a start, a duration gives the end.
            own["duration"] = spelled.find("duration")
        foreign: dict[Column, str | None] = {}
        if convention is not None:
            foreign = {column: spelled.find(name) for column, name in convention.columns.items()}
        if own["units"] or own["frame_units"]:
            foreign.pop("path", None)
        elif recordings and not self.path:
            own["path"] = spelled.find("audio") or own["path"]
        names = {column: name for column in get_args(Column) if (name := own.get(column) or foreign.get(column))}
        named = [column for column in INPUTS if getattr(self, column)]
        inputs = named or [column for column in INPUTS if column in names]
        if not inputs:
            remedy = f"add one, or name it, such as 'columns: {{path: {_likely(header)}}}'"
            problems.add(uri, "", "has no column 'path', 'units' or 'frame_units'", remedy, line=1)
        elif len(inputs) > 1:
            remedy = f"name the one to use, such as 'columns: {{{inputs[0]}: {self.of(inputs[0])}}}'"
            problems.add(uri, "", f"has more than one input: {' and '.join(inputs)}", remedy, line=1)
        if not sound or len(inputs) != 1:
            return None
        slots = tuple(spelled.find(label) or label for label in labels)
        return Found(inputs[0], names, slots, convention.name if convention is not None else "")


def unread_times(header: Sequence[str], found: Found) -> str | None:
    """Return a note about unread columns that may hold the times of clips."""
    if found.input != "path":
        return None
    spelled = _Header(header)
    times: dict[Column, str] = {}
    for column, possible in _TIMES.items():
        names = [] if column in found.names else filter(None, map(spelled.find, possible))
        if name := next((name for name in names if name not in (*times.values(), *found.names.values())), None):
            times[column] = name
    until = "end" in times or "end" in found.names or spelled.find("duration")
    if not times or ("start" in times and not until) or ("start" not in times and "start" not in found.names):
        return None
    named = " and ".join(map(repr, times.values()))
    given = ", ".join(f"{column}: {name}" for column, name in times.items())
    many = len(times) > 1
    return (
        f"{'the columns' if many else 'the column'} {named} {'are' if many else 'is'} not read, so clips without other "
        f"times are whole recordings; write 'columns: {{{given}}}' if these are seconds of the recording"
    )


class _Header:
    """The names of a file's columns, found regardless of case."""

    def __init__(self, header: Sequence[str]) -> None:
        self._names = frozenset(header)
        self._alike: dict[str, str | None] = {}
        for name in header:
            # Names that differ only in case are ambiguous.
            self._alike[plain(name)] = None if plain(name) in self._alike else name

    def find(self, name: str) -> str | None:
        return name if name in self._names else self._alike.get(plain(name))


def _likely(header: Sequence[str]) -> str:
    """Return a column that may hold the paths, by its name."""
    words = ("file", "wav", "audio", "path", "clip", "recording", "utt")
    return next((name for word in words for name in header if word in plain(name)), "file")
