"""Makes examples of the rows of one manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic_core import PydanticCustomError

from infra.errors import StorageError
from task_specs.example import SPLITS, Clip, Example, Split
from task_specs.problems import ProblemList
from task_specs.readers import cells
from task_specs.readers.audio_files import AudioFiles, NotFound
from task_specs.readers.columns import Columns, Input
from task_specs.readers.reader import Row
from task_specs.validation import suggestion

Cell = TypeVar("Cell")
Cells = Sequence[object]


class ManifestRows:
    """The rows of one manifest.

    Args:
        uri: the manifest.
        header: its columns.
        columns: what they are called.
        labels: the label columns.
        input: which column holds the input.
        split: the split of every row; ``None`` where a column says it.
        audio: where paths are looked up; not asked where the input is units.
        problems: where faulty rows are noted.
    """

    def __init__(
        self,
        *,
        uri: str,
        header: Sequence[str],
        columns: Columns,
        labels: Sequence[str],
        input: Input,  # noqa: A002 (the field's word)
        split: Split | None,
        audio: AudioFiles,
        problems: ProblemList,
    ) -> None:
        index = {name: position for position, name in enumerate(header)}
        self._uri = uri
        self._labels = [(index[name], name) for name in labels]
        self._input: Input = input
        self._input_at = index[columns.of(input)]
        self._input_name = columns.of(input)
        self._split = split
        self._split_name = columns.of("split")
        self._split_at = index.get(self._split_name, -1)
        self._start, self._end, self._speaker = (
            (index.get(columns.of(name)), columns.of(name)) for name in ("start", "end", "speaker")
        )
        self._audio: AudioFiles | None = audio
        self._problems = problems
        self._texts: dict[str, str] = {}

    def read(self, rows: Sequence[tuple[int, Cells]]) -> list[Row]:
        """Examples of the rows whose split and labels are sound; whatever is wrong with any row is noted."""
        found = []
        for line, row in rows:
            split = self._split or self._split_of(line, row)
            labels = self._labels_of(line, row)
            speaker = self._optional(line, row, self._speaker, cells.text)
            clip, units, durations = None, None, None
            if self._input == "path":
                clip = self._clip(line, row)
            elif self._input == "units":
                units = self._cell(line, row[self._input_at], self._input_name, cells.distinct_units)
            else:
                frames = self._cell(line, row[self._input_at], self._input_name, cells.units)
                if frames is not None:
                    units, durations = cells.runs(frames)
            if split is not None and labels is not None:
                example = Example(split, labels, clip, units, durations, speaker or None)
                found.append(Row(example, self._uri, line))
        return found

    def _split_of(self, line: int, row: Cells) -> Split | None:
        split = self._text(line, row[self._split_at], self._split_name)
        for known in SPLITS:
            if split == known:
                return known
        if split is not None:
            message = f"{split!r} is not a split" if split else "is empty"
            remedy = suggestion(_SYNONYMS.get(split.lower(), split), SPLITS)
            self._problems.add(self._uri, self._split_name, message, remedy, line=line, kind="split")
        return None

    def _labels_of(self, line: int, row: Cells) -> tuple[str, ...] | None:
        labels = []
        for position, name in self._labels:
            label = self._text(line, row[position], name)
            if label == "":
                self._problems.add(self._uri, name, "is empty", "write a label, or remove the row", line=line)
            if label:
                labels.append(label)
        return tuple(labels) if len(labels) == len(self._labels) else None

    def _clip(self, line: int, row: Cells) -> Clip | None:
        path = self._cell(line, row[self._input_at], self._input_name, cells.path)
        start = self._optional(line, row, self._start, cells.seconds)
        end = self._optional(line, row, self._end, cells.seconds)
        if end is not None and (start or 0.0) >= end:
            message = f"the clip ends at {end:g} s, not after its start at {start or 0.0:g} s"
            self._problems.add(
                self._uri,
                self._end[1],
                message,
                "correct start or end",
                line=line,
                kind="ends before it starts",
            )
        if path is None or self._audio is None:
            return None
        try:
            # A start of 0 and none are the same clip.
            return Clip(self._audio.find(path), start or None, end)
        except NotFound as error:
            self._problems.add(self._uri, self._input_name, error.message, error.remedy, line=line, kind="not found")
        except StorageError as error:
            # Every further row would fail alike.
            message, _, remedy = str(error).partition("; ")
            self._problems.add(self._uri, "root", message, remedy or "correct 'root'")
            self._audio = None
        return None

    def _text(self, line: int, cell: object, name: str) -> str | None:
        if not isinstance(cell, str):
            return self._cell(line, cell, name, cells.text)
        known = self._texts.get(cell)
        if known is None:
            read = self._cell(line, cell, name, cells.text)
            if read is None:
                return None
            known = self._texts[cell] = read
        return known

    def _optional(
        self, line: int, row: Cells, column: tuple[int | None, str], read: Callable[[object], Cell]
    ) -> Cell | None:
        position, name = column
        return None if position is None else self._cell(line, row[position], name, read)

    def _cell(self, line: int, cell: object, name: str, read: Callable[[object], Cell]) -> Cell | None:
        """What a cell says; ``None`` where it cannot be read, which is noted."""
        try:
            return read(cell)
        except PydanticCustomError as error:
            context = error.context or {}
            self._problems.add(self._uri, name, context["message"], context["remedy"], line=line, kind=read.__name__)
            return None


_SYNONYMS = {"dev": "valid", "val": "valid", "eval": "valid", "development": "valid", "training": "train"}
