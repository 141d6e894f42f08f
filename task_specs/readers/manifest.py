"""Reader of manifests: tables with one row per utterance, in CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
)

from infra import object_storage
from infra.errors import StorageError
from task_specs.example import SPLITS, Split
from task_specs.field_types import Location, located
from task_specs.label import VisibleLabel
from task_specs.problems import ProblemList
from task_specs.readers.audio_files import AudioFiles
from task_specs.readers.columns import Columns, Found, Input, unread_times
from task_specs.readers.manifest_rows import ManifestRows
from task_specs.readers.reader import Reader, Reading, Row
from task_specs.readers.table import Table
from task_specs.readers.table_file import read_table
from task_specs.table_audio import TableRecording
from task_specs.validation import described, fault

_ONE_TABLE = (
    "name one table, or one per split as 'path: {train: ..., valid: ..., test: ...}', and join tables in several parts"
)


class SplitFiles(BaseModel):
    """One manifest per split; a ``split`` column in them is not read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: Location
    valid: Location
    test: Location


def _path(value: Any, info: ValidationInfo) -> str | SplitFiles:
    if isinstance(value, SplitFiles):
        return value
    if isinstance(value, dict):
        return SplitFiles.model_validate(value, context=info.context)
    if isinstance(value, str):
        return located(value, info.context.get("base") if info.context else None)
    raise fault(f"must be a path, or one path per split, not {described(value)}", "write the manifest's path")


def _labels(value: Any) -> Any:
    if isinstance(value, list | tuple) and not value:
        raise fault("has too few entries", "give 1 or more")
    return [value] if isinstance(value, str) else value


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) < len(labels):
        raise fault("names a column twice", "name each label column once")
    return labels


def _all_inside(table: Table, columns: Found) -> bool:
    """Return whether every recording is in the table itself, so that no root is needed."""
    place = table.columns.index(columns.names["path"])
    return bool(table.rows) and all(isinstance(row[place], TableRecording) for _, row in table.rows)


def _not_a_path(cell: object) -> tuple[str, str] | None:
    """Return the kind of a cell that holds a recording in an unreadable form, and the remedy."""
    remedy = "write the table as Parquet with Audio(decode=False), or save the recordings as files and list their paths"
    if isinstance(cell, list) or (isinstance(cell, dict) and "array" in cell):
        return "holds recordings as arrays of numbers", remedy
    if isinstance(cell, dict) and cell.get("bytes") is not None:
        return "holds recordings, which only a Parquet table can hold", remedy
    if isinstance(cell, str) and re.match(r"\s*\{\s*['\"](?:path|bytes|array)['\"]", cell):
        return "holds printed recordings", remedy
    return None


def _as_whole_numbers(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows with the label ``3`` for ``3.0`` if a column has both, and a note.

    Programs without empty cells but NaN turn whole numbers into decimals in some files and not in others.
    """
    labels = {(slot, label) for row in rows for slot, label in enumerate(row.example.labels)}
    floats = {
        (slot, label): whole
        for slot, label in labels
        if label.endswith(".0") and (whole := label[:-2]).lstrip("-").isdecimal() and (slot, whole) in labels
    }
    if not floats:
        return list(rows), []
    changed = [
        row._replace(
            example=replace(
                row.example,
                labels=tuple(floats.get(place, place[1]) for place in enumerate(row.example.labels)),
            )
        )
        for row in rows
    ]
    one, whole = min((label, whole) for (_, label), whole in floats.items())
    return changed, [f"labels that differ only as decimals and whole numbers are merged, such as {one} and {whole}"]


class Manifest(Reader):
    """Rows with ``path,label,split`` and optionally ``start,end,speaker``.

    Instead of ``path`` there may be ``units`` (without adjacent repeats) or ``frame_units`` (one per frame).
    """

    sections: ClassVar[dict[str, type[BaseModel]]] = {"path": SplitFiles, "columns": Columns}

    path: Annotated[str | SplitFiles, PlainValidator(_path)]
    """The manifest, or one for each of ``train``, ``valid`` and ``test``."""
    root: Location | None = None
    """Directory of the recordings, which no path may leave; default: the manifest's directory."""
    label: Annotated[
        tuple[VisibleLabel, ...],
        Field(max_length=32),
        BeforeValidator(_labels),
        AfterValidator(_distinct),
    ] = ("label",)
    """Label column; several columns are several slots."""
    columns: Columns = Field(default_factory=Columns)
    """Other names of columns, such as ``{path: wav, split: set}``."""

    @property
    def slots(self) -> tuple[str, ...]:
        return self.label

    def read(self, problems: ProblemList) -> Reading:
        """Read every manifest, and find every audio file.

        Raises:
            MissingExtra: a manifest is Parquet, but pyarrow is not installed.
        """
        rows: list[Row] = []
        notes: list[str] = []
        complete = True
        inputs: dict[Input, str] = {}
        roots: dict[str, AudioFiles] = {}
        for split, uri in self._files():
            try:
                table = read_table(uri, self.columns.wanted(self.label), problems)
            except StorageError as error:
                remedy = _ONE_TABLE if re.search(r"[*?\[]", uri) else error.remedy or "correct the path"
                problems.add(uri, "", error.reason, remedy)
                table = None
            columns = None if table is None else self._columns(uri, table, split is None, problems)
            if table is not None and columns is not None and table.complete and not table.rows:
                problems.add(uri, "", "has a header, but no rows", "write a row for each recording")
                columns = None
            if table is None or columns is None:
                complete = False
                continue
            complete = complete and table.complete
            inputs[columns.input] = uri
            root = self.root or object_storage.parent(uri)
            needs_root = columns.input == "path" and not _all_inside(table, columns)
            if needs_root and root not in roots and not self._usable(root, uri, problems):
                complete = False
                continue
            manifest = ManifestRows(
                uri=uri,
                table=table,
                columns=columns,
                split=split,
                audio=roots.setdefault(root, AudioFiles(root)),
                problems=problems,
            )
            notes += [*manifest.notes, *filter(None, [unread_times(table.header, columns)])]
            found = manifest.read()
            complete = complete and len(found) == len(table.rows)
            rows += found
        if len(inputs) > 1:
            message = f"the manifests of this task differ: {' and '.join(inputs)}"
            problems.add(next(reversed(inputs.values())), "", message, "give every split the same kind of input")
        rows, noted = _as_whole_numbers(rows)
        return Reading(rows, complete, tuple(dict.fromkeys(notes + noted)))

    def _columns(self, uri: str, table: Table, needs_split: bool, problems: ProblemList) -> Found | None:
        """Return the columns; ``None`` if they or the input cannot be determined, which is a problem."""
        found = self.columns.find(
            table.header,
            labels=self.label,
            needs_split=needs_split,
            uri=uri,
            problems=problems,
            recordings=bool(table.recordings),
        )
        if found is not None and found.input == "path":
            place = table.columns.index(found.names["path"])
            first = next(((line, row[place]) for line, row in table.rows if row[place] is not None), (1, None))
            said = _not_a_path(first[1])
            if said is not None:
                problems.add(uri, found.names["path"], *said, line=first[0])
                return None
        return found

    def _usable(self, root: str, uri: str, problems: ProblemList) -> bool:
        if object_storage.is_s3(root) or Path(root).is_dir():
            return True
        problems.add(uri, "root", f"there is no directory {root}", "correct 'root'")
        return False

    def _files(self) -> list[tuple[Split | None, str]]:
        """Return the manifests, each with its split if the task spec gives it."""
        if isinstance(self.path, str):
            return [(None, self.path)]
        return [(split, getattr(self.path, split)) for split in SPLITS]
