"""Turning the rows of a manifest into examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from pydantic_core import PydanticCustomError

from infra.errors import StorageError
from task_specs.example import SPLITS, Clip, Example, Split
from task_specs.problems import ProblemList
from task_specs.readers import cells
from task_specs.readers.audio_files import AudioFiles, NotFound
from task_specs.readers.columns import Found, Input
from task_specs.readers.reader import Row
from task_specs.readers.table import Table
from task_specs.split_words import split_of, splits_of
from task_specs.table_audio import TableRecording
from task_specs.validation import suggestion

Cell = TypeVar("Cell")
Cells = Sequence[object]

_PLACEHOLDER: Final = re.compile(r"(?:\$\w+|\$?\{\w+\})/+")
"""SpeechBrain's placeholder for the root."""


class ManifestRows:
    """Rows of a manifest.

    Args:
        uri: URI of the manifest.
        table: content of the manifest.
        columns: columns found in the manifest.
        split: split of every row; ``None`` if a column gives it.
        audio: files that paths refer to; unused if the input is units.
        problems: list for problems with rows.
    """

    def __init__(
        self,
        *,
        uri: str,
        table: Table,
        columns: Found,
        split: Split | None,
        audio: AudioFiles,
        problems: ProblemList,
    ) -> None:
        index = {name: position for position, name in enumerate(table.columns)}
        self._uri = uri
        self._rows = table.rows
        self._labels = [(index[name], name) for name in columns.labels]
        self._input: Input = columns.input
        self._input_name = columns.names[columns.input]
        self._input_at = index[self._input_name]
        self._split = split
        self._split_name = columns.names.get("split", "split")
        self._split_at = index.get(self._split_name, -1)
        self._start, self._end, self._speaker, self._duration = (
            (index[columns.names[name]], columns.names[name]) if name in columns.names else None
            for name in ("start", "end", "speaker", "duration")
        )
        self._seconds = cells.seconds_with_comma if table.decimal_comma else cells.seconds
        self._placeholder = columns.convention == "SpeechBrain"
        self._audio: AudioFiles | None = audio
        self._problems = problems
        self._texts: dict[str, str] = {}
        self._counts = Counter[str]() if split else self._split_words()
        self._splits = splits_of(self._counts)
        self._told: set[str] = set()

    @property
    def notes(self) -> list[str]:
        """Notes about words that were taken as splits."""
        unsure = {word: split for word, split in self._splits.items() if split_of(word) is None}
        return [f"{word!r} in the column {self._split_name} is read as {split}" for word, split in unsure.items()]

    def read(self) -> list[Row]:
        """Return examples of the rows with valid split and labels, and report all problems of rows."""
        found = []
        for line, row in self._rows:
            split = self._split or self._split_of(line, row)
            labels = self._labels_of(line, row)
            speaker = self._optional(line, row, self._speaker, cells.speaker)
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

    def _split_words(self) -> Counter[str]:
        """Count the words in the split column; the meaning of a word may depend on the others."""
        written = Counter(row[self._split_at] for _, row in self._rows if isinstance(row[self._split_at], str | bytes))
        counts: Counter[str] = Counter()
        for cell, count in written.items():
            with suppress(PydanticCustomError):
                counts[cells.text(cell)] += count
        return counts

    def _split_of(self, line: int, row: Cells) -> Split | None:
        word = self._text(line, row[self._split_at], self._split_name)
        if word is None or word in self._splits:
            return None if word is None else self._splits[word]
        if word not in self._told:
            self._told.add(word)
            more = f", here and in {self._counts[word] - 1:,} other rows" if self._counts[word] > 1 else ""
            message = f"{word!r} is not a split{more}" if word else f"is empty{more}"
            self._problems.add(self._uri, self._split_name, message, suggestion(word, SPLITS), line=line, kind="split")
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
        start = self._optional(line, row, self._start, self._seconds)
        end = self._optional(line, row, self._end, self._seconds)
        if self._end is None and self._duration is not None:
            end = self._after(start, line, row)
        if end is not None and (start or 0.0) >= end:
            message = f"the clip ends at {end:g} s, not after its start at {start or 0.0:g} s"
            name = self._end[1] if self._end is not None else ""
            remedy = "correct start or end"
            self._problems.add(self._uri, name, message, remedy, line=line, kind="ends before it starts")
        cell = row[self._input_at]
        if isinstance(cell, TableRecording):
            return Clip(cell.uri, start or None, end)
        path = self._cell(line, cell, self._input_name, cells.path)
        if path is None or self._audio is None:
            return None
        if self._placeholder:
            path = _PLACEHOLDER.sub("", path, count=1) if _PLACEHOLDER.match(path) else path
        try:
            # A start of 0 and no start give the same clip.
            return Clip(self._audio.find(path), start or None, end)
        except NotFound as error:
            self._problems.add(self._uri, self._input_name, error.message, error.remedy, line=line, kind="not found")
        except StorageError as error:
            # All further rows would fail in the same way.
            self._problems.add(self._uri, "root", error.reason, error.remedy or "correct 'root'")
            self._audio = None
        return None

    def _after(self, start: float | None, line: int, row: Cells) -> float | None:
        """Return the end of a clip with a duration; NeMo writes 0 or -1 for an unknown one."""
        duration = self._optional(line, row, self._duration, cells.duration)
        return (start or 0.0) + duration if duration else None

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
        self, line: int, row: Cells, column: tuple[int, str] | None, read: Callable[[object], Cell]
    ) -> Cell | None:
        return None if column is None else self._cell(line, row[column[0]], column[1], read)

    def _cell(self, line: int, cell: object, name: str, read: Callable[[object], Cell]) -> Cell | None:
        """Return the value of a cell; ``None`` if it cannot be read, which is a problem."""
        try:
            return read(cell)
        except PydanticCustomError as error:
            context = error.context or {}
            self._problems.add(self._uri, name, context["message"], context["remedy"], line=line, kind=read.__name__)
            return None
