"""The reader of manifests: tables with one row per utterance, in CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

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
from task_specs.fault import fault
from task_specs.label import VisibleLabel
from task_specs.location import Location, located
from task_specs.problems import ProblemList
from task_specs.readers.audio_files import AudioFiles
from task_specs.readers.columns import Columns, Input
from task_specs.readers.manifest_rows import ManifestRows
from task_specs.readers.reader import Reader, Reading, Row
from task_specs.readers.table import read_table
from task_specs.validation import described


class SplitFiles(BaseModel):
    """One manifest a split; a ``split`` column in them is not read."""

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
    raise fault(f"must be a path, or one path a split, not {described(value)}", "write the manifest's path")


def _labels(value: Any) -> Any:
    if isinstance(value, list | tuple) and not value:
        raise fault("has too few entries", "give 1 or more")
    return [value] if isinstance(value, str) else value


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) < len(labels):
        raise fault("names a column twice", "name each label column once")
    return labels


class Manifest(Reader):
    """Rows ``path,label,split`` and optionally ``start,end,speaker``.

    In place of ``path`` stands ``units`` (without adjacent repeats) or ``frame_units`` (one unit a frame).
    """

    sections: ClassVar[dict[str, type[BaseModel]]] = {"path": SplitFiles, "columns": Columns}

    path: Annotated[str | SplitFiles, PlainValidator(_path)]
    """The manifest, or one for each of ``train``, ``valid`` and ``test``."""
    root: Location | None = None
    """Directory of the audio, which no path leaves; the manifest's own where it is left out."""
    label: Annotated[
        tuple[VisibleLabel, ...],
        Field(max_length=32),
        BeforeValidator(_labels),
        AfterValidator(_distinct),
    ] = ("label",)
    """The label column; several are several slots."""
    columns: Columns = Field(default_factory=Columns)
    """Other names of columns, such as ``{path: wav, split: set}``."""

    @property
    def slots(self) -> tuple[str, ...]:
        return self.label

    def read(self, problems: ProblemList) -> Reading:
        """Reads every manifest, and looks up every audio file.

        Raises:
            MissingExtra: a Parquet manifest, and pyarrow is not installed.
        """
        rows: list[Row] = []
        complete = True
        inputs: dict[Input, str] = {}
        roots: dict[str, AudioFiles] = {}
        for split, uri in self._files():
            try:
                data = object_storage.read_bytes(uri)
            except StorageError as error:
                message, _, remedy = str(error).partition("; ")
                problems.add(uri, "", message, remedy or "correct the path")
                complete = False
                continue
            table = read_table(uri, data, problems)
            if table is None:
                complete = False
                continue
            complete = complete and table.complete
            input_column = self.columns.check(
                table.columns, labels=self.label, needs_split=split is None, uri=uri, problems=problems
            )
            if input_column is None:
                complete = False
                continue
            inputs[input_column] = uri
            root = self.root or object_storage.parent(uri)
            if input_column == "path" and root not in roots and not self._usable(root, uri, problems):
                complete = False
                continue
            found = ManifestRows(
                uri=uri,
                header=table.columns,
                columns=self.columns,
                labels=self.label,
                input=input_column,
                split=split,
                audio=roots.setdefault(root, AudioFiles(root)),
                problems=problems,
            ).read(table.rows)
            complete = complete and len(found) == len(table.rows)
            rows += found
        if len(inputs) > 1:
            message = f"the manifests of this task differ: {' and '.join(inputs)}"
            problems.add(next(reversed(inputs.values())), "", message, "give every split the same kind of input")
        return Reading(rows, complete)

    def _usable(self, root: str, uri: str, problems: ProblemList) -> bool:
        if object_storage.is_s3(root) or Path(root).is_dir():
            return True
        problems.add(uri, "root", f"there is no directory {root}", "correct 'root'")
        return False

    def _files(self) -> list[tuple[Split | None, str]]:
        """The manifests, each with its split where the task spec says it."""
        if isinstance(self.path, str):
            return [(None, self.path)]
        return [(split, getattr(self.path, split)) for split in SPLITS]
