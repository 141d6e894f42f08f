"""The columns of a manifest and the names they go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from task_specs.problems import ProblemList
from task_specs.validation import suggestion

Input = Literal["path", "units", "frame_units"]
Column = Literal["path", "units", "frame_units", "split", "start", "end", "speaker"]

INPUTS: tuple[Input, ...] = ("path", "units", "frame_units")


class Columns(BaseModel):
    """Names of columns, where they differ from the field's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = Field(None, min_length=1)
    """Audio file, relative to the root."""
    units: str | None = Field(None, min_length=1)
    """Unit numbers without adjacent repeats."""
    frame_units: str | None = Field(None, min_length=1)
    """One unit number a frame."""
    split: str | None = Field(None, min_length=1)
    start: str | None = Field(None, min_length=1)
    """Seconds."""
    end: str | None = Field(None, min_length=1)
    """Seconds."""
    speaker: str | None = Field(None, min_length=1)

    def of(self, column: Column) -> str:
        """The name of ``column`` in the file."""
        return getattr(self, column) or column

    def check(
        self,
        header: Sequence[str],
        *,
        labels: Sequence[str],
        needs_split: bool,
        uri: str,
        problems: ProblemList,
    ) -> Input | None:
        """Which column holds the input, or ``None`` where ``header`` lacks a column or leaves that open."""
        needed = [*labels, *(name for name in self.model_dump().values() if name)]
        needed += [self.of("split")] if needs_split else []
        sound = True
        for name in dict.fromkeys(needed):
            if name not in header:
                remedy = f"{suggestion(name, header)} Otherwise add the column"
                problems.add(uri, name, "there is no such column", remedy, line=1)
                sound = False
        named = [column for column in INPUTS if getattr(self, column)]
        inputs = named or [column for column in INPUTS if column in header]
        if not inputs:
            remedy = "add one, or name it, such as 'columns: {path: file}'"
            problems.add(uri, "", "has no column 'path', 'units' or 'frame_units'", remedy, line=1)
        elif len(inputs) > 1:
            remedy = f"name the one to use, such as 'columns: {{{inputs[0]}: {self.of(inputs[0])}}}'"
            problems.add(uri, "", f"has more than one input: {' and '.join(inputs)}", remedy, line=1)
        return inputs[0] if sound and len(inputs) == 1 else None
