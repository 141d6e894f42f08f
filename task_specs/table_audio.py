"""Recordings in Parquet tables, as Hugging Face stores them, each with its own URI.

``<table>#row=12&column=audio`` is the recording in row 12, counted from 1, of a local or S3 table, so that workers find
it as they find a file. Parquet is read by row groups, so the groups read last are cached.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote

from infra import object_storage
from infra.errors import DatasetError, ObjectNotFound, StorageError

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ColumnChunkMetaData, FileMetaData, ParquetFile

MAX_GROUP_BYTES: Final = 1 << 28
"""Most bytes of the recordings in a row group, unpacked."""

_KEPT_BYTES: Final = 1 << 28
_KEPT_LAYOUTS: Final = 256
_PLACE: Final = re.compile(r"(?P<table>.+)#row=(?P<row>[1-9][0-9]{0,11})&column=(?P<column>[^#&/]+)", re.DOTALL)


class TableRecording(NamedTuple):
    """A cell that holds a recording.

    Attributes:
        uri: URI of the recording.
    """

    uri: str


def recording_uri(table: str, row: int, column: str) -> str:
    """Return the URI of the recording in a row of a table, counted from 1."""
    return f"{table}#row={row}&column={quote(column, safe='')}"


def in_table(uri: str) -> bool:
    """Return whether a recording's URI names a row of a table rather than a file."""
    return _PLACE.fullmatch(uri) is not None


def reading_order(uri: str, rows_together: int = 1) -> tuple[str, int]:
    """Return a sort key by which a table is read from its first row to its last.

    Args:
        uri: URI of the recording.
        rows_together: number of neighbouring rows with equal keys; all files have equal keys.
    """
    place = _PLACE.fullmatch(uri)
    return ("", 0) if place is None else (place["table"], int(place["row"]) // rows_together)


def read_recording(uri: str) -> bytes:
    """Return the bytes of a recording in a file or a table.

    Raises:
        DatasetError: the table has no such recording, or is damaged.
        MissingExtra: the recording is in a table, but pyarrow is not installed.
        ObjectNotFound: there is no such file or table.
        StorageError: the location cannot be read.
    """
    place = _PLACE.fullmatch(uri)
    if place is None:
        return object_storage.read_bytes(uri)
    return _SHELF.read(place["table"], int(place["row"]) - 1, unquote(place["column"]))


def audio_leaf(schema: pyarrow.Schema, column: str) -> str:
    """Return the path of the bytes of a column of recordings: a field of ``{bytes, path}``, or the column itself; empty
    for any other column."""
    from pyarrow import types

    def is_bytes(kind: pyarrow.DataType) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    kind = schema.field(column).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        stored = [field.type for field in kind if field.name == "bytes"]
        return f"{column}.bytes" if stored and is_bytes(stored[0]) else ""
    return column if is_bytes(kind) else ""


def described_chunk(file: ParquetFile, group: int, leaf: str) -> ColumnChunkMetaData:
    """Return the metadata of one column in one row group.

    The column is read first: for a damaged column this raises an error, while asking for its metadata would make Arrow
    abort the process.
    """
    schema = file.metadata.schema
    [place] = (place for place in range(len(schema)) if schema.column(place).path == leaf)
    next(iter(file.iter_batches(1, row_groups=[group], columns=[leaf], use_threads=False)), None)
    return file.metadata.row_group(group).column(place)


@dataclass(frozen=True)
class _Layout:
    """Layout of a table: the number of rows up to the end of each row group."""

    metadata: FileMetaData
    ends: list[int]


class _Shelf:
    """Cache of the row groups read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._layouts: OrderedDict[tuple[str, int, int], _Layout] = OrderedDict()
        self._groups: OrderedDict[tuple[tuple[str, int, int], str, int], pyarrow.ChunkedArray] = OrderedDict()

    def read(self, table: str, row: int, column: str) -> bytes:
        import pyarrow
        from pyarrow.fs import FileType

        system, path = object_storage.arrow_filesystem(table)
        try:
            info = system.get_file_info(path)
            if info.type is not FileType.File:
                raise ObjectNotFound(f"{table} does not exist; check the path")
            # Size and time, so that a replaced table is read again.
            version = (table, info.size, info.mtime_ns)
            with self._lock:
                layout = self._layouts.get(version) or self._open(version, system, path)
                self._layouts.move_to_end(version)
                if row >= layout.ends[-1]:
                    raise DatasetError(f"{table} has no row {row + 1}; run again once it is complete")
                group = bisect_right(layout.ends, row)
                key = (version, column, group)
                if key not in self._groups:
                    self._take(key, self._group(layout, system, path, column, group))
                self._groups.move_to_end(key)
                cells = self._groups[key]
            cell = cells[row - (layout.ends[group - 1] if group else 0)].as_py()
        except (pyarrow.ArrowException, OSError, ValueError, LookupError) as error:
            if isinstance(error, DatasetError):
                raise
            what = " ".join(str(error).split())[:200]
            if object_storage.is_s3(table) and "AWS Error" in what:
                raise StorageError(f"{table} cannot be read ({what}); check the server and its settings") from error
            raise DatasetError(f"row {row + 1} of {table} cannot be read ({what}); write the table again") from error
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise DatasetError(f"row {row + 1} of {table} holds no recording; remove it")
        return data

    def _open(self, version: tuple[str, int, int], system: Any, path: str) -> _Layout:
        from pyarrow import parquet

        with system.open_input_file(path) as source, parquet.ParquetFile(source) as file:
            metadata = file.metadata
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        layout = self._layouts[version] = _Layout(metadata, list(accumulate(group.num_rows for group in groups)) or [0])
        if len(self._layouts) > _KEPT_LAYOUTS:
            self._layouts.popitem(last=False)
        return layout

    def _group(self, layout: _Layout, system: Any, path: str, column: str, group: int) -> pyarrow.ChunkedArray:

        leaf = audio_leaf(layout.metadata.schema.to_arrow_schema(), column)
        changed = DatasetError(f"{path} no longer holds the recordings it did; run again once it is complete")
        if not leaf:
            raise changed
        with system.open_input_file(path) as source, as_dictionaries(source, layout.metadata, [leaf]) as file:
            if described_chunk(file, group, leaf).total_uncompressed_size > MAX_GROUP_BYTES:
                raise changed
            return file.read_row_group(group, columns=[leaf], use_threads=False).column(0)

    def _take(self, key: tuple[tuple[str, int, int], str, int], cells: pyarrow.ChunkedArray) -> None:
        self._groups[key] = cells
        while len(self._groups) > 1 and sum(kept.nbytes for kept in self._groups.values()) > _KEPT_BYTES:
            self._groups.popitem(last=False)


def as_dictionaries(source: Any, metadata: FileMetaData, leaves: list[str]) -> ParquetFile:
    """Open a file so that a value that many rows share takes memory only once."""
    from pyarrow import parquet

    return parquet.ParquetFile(source, metadata=metadata, read_dictionary=leaves)


_SHELF: Final = _Shelf()
