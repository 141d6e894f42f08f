"""Reading of Parquet tables, except the recordings in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from infra import object_storage
from infra.errors import MissingExtra
from task_specs.problems import ProblemList
from task_specs.readers.table import MAX_TEXT_BYTES, Table, Wanted, distinct, few_enough, plain
from task_specs.table_audio import (
    MAX_GROUP_BYTES,
    TableRecording,
    as_dictionaries,
    audio_leaf,
    described_chunk,
    recording_uri,
)

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

MAGIC: Final = b"PAR1"
MAX_VALUES: Final = 1 << 28
"""Most cells and list entries of a table, since a few bytes can expand to many."""

_BATCH_ROWS: Final = 1 << 14


def read_parquet(uri: str, wanted: Wanted, problems: ProblemList, *, data: bytes | None = None) -> Table | None:
    """Read the table in a Parquet file; ``None`` if it cannot be read, which is reported as a problem.

    Cells of a column of recordings (binary, or Hugging Face's ``{bytes, path}``) are a `TableRecording`, or the path if
    no bytes are stored. Hugging Face's class numbers are replaced by names.

    Args:
        uri: URI of the file.
        wanted: columns to read.
        problems: list for problems.
        data: content of the file, if it was read already.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "train") from error
    try:
        with _opened(uri, data) as source, parquet.ParquetFile(source) as described:
            schema, metadata = described.schema_arrow, described.metadata
            header = tuple(schema.names)
            columns = wanted.within(header)
            rows = max(metadata.num_rows, sum(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)))
            if not distinct(header, uri, None, problems) or not few_enough(rows, uri, problems):
                return None
            audio = [name for name in columns if plain(name) in wanted.recordings and audio_leaf(schema, name)]
            decoded = [name for name in columns if plain(name) in wanted.recordings and _is_decoded(schema, name)]
            others = [name for name in columns if name not in audio + decoded]
            if not _fits(uri, described, others, audio, problems):
                return None
            leaves = [*filter(_is_text(schema), others), *(audio_leaf(schema, name) for name in audio)]
            with as_dictionaries(source, metadata, leaves) as file:
                cells = _cells(file, others) | {name: [{"array": None}] * metadata.num_rows for name in decoded}
                cells |= {name: list(_recordings(uri, file, name, audio_leaf(schema, name))) for name in audio}
            if len(set(map(len, cells.values()))) > 1:
                raise ValueError("its columns differ in length")
    except (pyarrow.ArrowException, OSError, ValueError, LookupError, OverflowError, RecursionError) as error:
        what = " ".join(str(error).split())[:200]
        problems.add(uri, "", f"is not a Parquet file that can be read ({what})", "write it again")
        return None
    sound = True
    for name, classes in _classes(schema).items():
        if name in cells:
            sound = _named(uri, name, cells[name], classes, problems) and sound
    found = zip(*(cells[name] for name in columns), strict=True)
    return Table(header, tuple(columns), list(enumerate(found, start=1)), sound, recordings=frozenset(audio))


def _opened(uri: str, data: bytes | None) -> Any:
    import pyarrow

    if data is not None:
        return pyarrow.BufferReader(data)
    system, path = object_storage.arrow_filesystem(uri)
    return system.open_input_file(path)


def _is_decoded(schema: pyarrow.Schema, column: str) -> bool:
    from pyarrow import types

    kind = schema.field(column).type
    return bool(types.is_list(kind)) or (types.is_struct(kind) and any(field.name == "array" for field in kind))


def _is_text(schema: pyarrow.Schema) -> Callable[[str], bool]:
    from pyarrow import types

    kinds = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return lambda column: any(is_kind(schema.field(column).type) for is_kind in kinds)


def _fits(uri: str, file: ParquetFile, read: Sequence[str], audio: Sequence[str], problems: ProblemList) -> bool:
    """Return whether the columns to read, and each row group of recordings, fit the limits of memory."""
    values = size = 0
    if read:
        # Finds damage, without keeping anything, that would make Arrow abort the process later.
        file.scan_contents(list(read))
    for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
        for place in range(group.num_columns):
            path = file.metadata.schema.column(place).path
            if path in read or path.partition(".")[0] in read:
                values += group.column(place).num_values
                size += group.column(place).total_uncompressed_size
    if values > MAX_VALUES or size > MAX_TEXT_BYTES:
        message = f"has {values:,} values in {size:,} bytes in the columns {', '.join(read)}"
        remedy = f"use a part of it, with {MAX_VALUES:,} values in {MAX_TEXT_BYTES:,} bytes at most"
        problems.add(uri, "", message, remedy)
        return False
    for name in audio:
        leaf = audio_leaf(file.schema_arrow, name)
        chunks = (described_chunk(file, group, leaf) for group in range(file.metadata.num_row_groups))
        largest = max((chunk.total_uncompressed_size for chunk in chunks), default=0)
        if largest > MAX_GROUP_BYTES:
            message = f"has {largest >> 20:,} MiB of recordings in one row group, which can only be read whole"
            remedy = "write it in smaller ones, such as pyarrow.parquet.write_table(..., row_group_size=100)"
            problems.add(uri, name, message, remedy)
            return False
    return True


def _cells(file: ParquetFile, columns: Sequence[str]) -> dict[str, list[object]]:
    cells: dict[str, list[object]] = {name: [] for name in columns}
    if columns:
        for batch in file.iter_batches(_BATCH_ROWS, columns=list(columns), use_threads=False):
            for name in columns:
                cells[name] += _values(batch.column(batch.schema.get_field_index(name)))
    return cells


def _values(array: pyarrow.Array) -> list[object]:
    import pyarrow

    if not isinstance(array, pyarrow.DictionaryArray):
        return list(array.to_pylist())
    # Rows share the object, of which to_pylist() would make a copy per row.
    values = array.dictionary.to_pylist()
    return [None if index is None else values[index] for index in array.indices.to_pylist()]


def _recordings(uri: str, file: ParquetFile, column: str, leaf: str) -> Iterator[object]:
    """Yield a cell per row: the recording; its path if it has no bytes; ``None`` if it has neither."""
    row = 0
    has_paths = leaf != column and any(field.name == "path" for field in file.schema_arrow.field(column).type)
    for group in range(file.metadata.num_row_groups):
        missing = _missing(file, group, leaf)
        paths: Iterator[object] = iter(())
        if has_paths and any(missing):
            batches = file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[f"{column}.path"], use_threads=False)
            paths = (cell for batch in batches for cell in batch.column(0).to_pylist())
        for absent in missing:
            row += 1
            cell = next(paths, None)
            path = cell.get("path") if isinstance(cell, dict) else None
            yield path if absent else TableRecording(recording_uri(uri, row, column))


def _missing(file: ParquetFile, group: int, leaf: str) -> Sequence[bool]:
    """Return whether each row of a group has no bytes, by the file's statistics if they suffice."""
    chunk, rows = described_chunk(file, group, leaf), file.metadata.row_group(group).num_rows
    # Arrow aborts the process when statistics have another type than the column.
    if chunk.physical_type == "BYTE_ARRAY" and chunk.is_stats_set and chunk.statistics.has_null_count:
        nulls = chunk.statistics.null_count
        if nulls in (0, rows):
            return [nulls != 0] * rows
    missing: list[bool] = []
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[leaf], use_threads=False):
        array = batch.column(0)
        if leaf.endswith(".bytes") and hasattr(array, "flatten"):
            [array] = array.flatten()
        missing += array.is_null().to_pylist()
    return missing


def _classes(schema: pyarrow.Schema) -> Mapping[str, list[str]]:
    """Return Hugging Face's names of class numbers, by column."""
    try:
        described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = described["info"]["features"]
        return {
            name: feature["names"]
            for name, feature in features.items()
            if isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and isinstance(feature.get("names"), list)
            and all(isinstance(one, str) for one in feature["names"])
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Optional metadata, which other programs may damage.
        return {}


def _named(uri: str, column: str, cells: list[object], classes: Sequence[str], problems: ProblemList) -> bool:
    """Replace numbers by names; return whether each has one. Hugging Face writes -1 for no label."""
    unknown: dict[int, int] = {}
    for place, cell in enumerate(cells):
        if not isinstance(cell, int) or isinstance(cell, bool):
            continue
        if -1 <= cell < len(classes):
            cells[place] = classes[cell] if cell >= 0 else None
        else:
            unknown[place + 1] = cell
    if unknown:
        line, number = next(iter(unknown.items()))
        message = f"{number} is none of the numbers of its {len(classes)} classes, nor are {len(unknown) - 1} others"
        problems.add(uri, column, message, "correct them, or their names in the metadata 'huggingface'", line=line)
    return not unknown
