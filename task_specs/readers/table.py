"""Reads a table from CSV, TSV, JSON Lines or Parquet, whole, with the line of every row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Never

from infra.errors import MissingExtra
from task_specs.problems import ProblemList

# A cell may hold the units of a long recording; the csv module's own limit is 128 KiB.
_CELL_CHARACTERS = 1 << 24


@dataclass(frozen=True)
class Table:
    """The rows of a manifest.

    Attributes:
        columns: their names.
        rows: line or row number, from 1, and one cell a column; ``None`` where a row has none.
        complete: whether every row could be read.
    """

    columns: tuple[str, ...]
    rows: list[tuple[int, Sequence[object]]]
    complete: bool = True


def read_table(uri: str, data: bytes, problems: ProblemList) -> Table | None:
    """The table in ``data``, by the ending of ``uri``; ``None`` if there is none, which is then a problem.

    Raises:
        MissingExtra: a Parquet file, and pyarrow is not installed.
    """
    ending = uri.rsplit("/", 1)[-1].rpartition(".")[2].lower()
    if ending == "parquet":
        return _parquet(uri, data, problems)
    if ending not in _TEXT_FORMATS:
        problems.add(uri, "", "the format of this file is not known", "name it .csv, .tsv, .jsonl or .parquet")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(uri, "", "is not UTF-8 text", "save it as UTF-8", line=line)
        return None
    return _TEXT_FORMATS[ending](uri, text, problems)


def _delimited(uri: str, text: str, problems: ProblemList, delimiter: str) -> Table | None:
    csv.field_size_limit(_CELL_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: tuple[str, ...] = ()
    rows: list[tuple[int, Sequence[object]]] = []
    complete = True
    line = 1
    try:
        for row in reader:
            if row and not columns:
                columns = tuple(name.strip() for name in row)
                complete = _differ(columns, uri, line, problems)
            elif len(row) == len(columns):
                rows.append((line, row))
            elif row:
                message = f"has {len(row)} cells where the header has {len(columns)}"
                remedy = "correct the row; put a cell that holds the separator in double quotes"
                problems.add(uri, "", message, remedy, line=line, kind="cells")
                complete = False
            # A quoted cell may span lines; the next row begins after the last of them.
            line = reader.line_num + 1
    except csv.Error as error:
        # Quotes that do not match leave no way to tell where the next row begins.
        remedy = "correct the quotes there; a quote within a quoted cell is doubled"
        problems.add(uri, "", f"cannot be read on from here ({error})", remedy, line=line)
        complete = False
    if not columns and complete:
        problems.add(uri, "", "is empty", "write a header and rows")
    return Table(columns, rows, complete) if columns else None


def _differ(columns: Sequence[str], uri: str, line: int | None, problems: ProblemList) -> bool:
    """Whether no two columns have the same name; those that do are noted."""
    twice = sorted({name for name in columns if columns.count(name) > 1})
    for name in twice:
        problems.add(uri, name, "there are two columns of this name", "rename one of them", line=line)
    return not twice


def _json_lines(uri: str, text: str, problems: ProblemList) -> Table | None:
    columns: dict[str, int] = {}
    objects: list[tuple[int, dict[str, Any]]] = []
    complete = True
    decode = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant).decode
    # Not splitlines(): U+2028 and the like may stand in a JSON string.
    for line, part in enumerate(text.split("\n"), start=1):
        if not part.strip():
            continue
        try:
            row = decode(part)
        except (ValueError, RecursionError) as error:
            what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            column = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            message = f"is not a JSON object{column}: {what}"
            problems.add(uri, "", message, "write one object a line", line=line, kind="json")
            complete = False
            continue
        if not isinstance(row, dict):
            problems.add(uri, "", "is not a JSON object", "write one object a line", line=line, kind="json")
            complete = False
            continue
        objects.append((line, row))
        for name in row:
            columns.setdefault(name, len(columns))
    if not objects:
        if complete:
            problems.add(uri, "", "is empty", "write one object a line")
        return None
    return Table(tuple(columns), [(line, [row.get(name) for name in columns]) for line, row in objects], complete)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("it holds a key twice")
    return row


def _no_constant(name: str) -> Never:
    raise ValueError(f"it holds {name}, which is not JSON")


def _parquet(uri: str, data: bytes, problems: ProblemList) -> Table | None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "train") from error
    try:
        table = parquet.read_table(pyarrow.BufferReader(data))
        cells = [column.to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        what = " ".join(str(error).split())[:200]
        problems.add(uri, "", f"is not a Parquet file that can be read ({what})", "write it anew")
        return None
    columns = tuple(table.column_names)
    distinct = _differ(columns, uri, None, problems)
    return Table(columns, list(enumerate(zip(*cells, strict=True), start=1)), distinct)


_TEXT_FORMATS: dict[str, Callable[[str, str, ProblemList], Table | None]] = {
    "csv": lambda uri, text, problems: _delimited(uri, text, problems, ","),
    "tsv": lambda uri, text, problems: _delimited(uri, text, problems, "\t"),
    "jsonl": _json_lines,
    "ndjson": _json_lines,
}
