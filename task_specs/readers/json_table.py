"""Reading of tables in JSON Lines and other forms of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from task_specs.problems import ProblemList
from task_specs.readers.table import Table, Wanted, few_enough

Object = dict[str, Any]
Objects = list[tuple[int, Object]]


def read_json(uri: str, text: str, wanted: Wanted, problems: ProblemList) -> Table | None:
    """Read the table in ``text``, one object per row; ``None`` if there is none, which is reported as a problem.

    Rows are objects on lines, objects that follow each other, or an array of objects. A single object may hold all
    rows: as columns, which are lists or objects of equal length, or by name. ``NaN``, which programs write for missing
    values, is ``null``.

    Args:
        uri: URI of the file.
        text: content of the file.
        wanted: columns to read; other cells are left out.
        problems: list for problems.
    """
    complete, objects = True, _whole(text)
    if objects is None and _spread(text):
        problems.add(uri, "", *_where_it_breaks(text))
        return None
    if objects is None:
        complete, objects = _lines(uri, text, problems)
    if len(objects) == 1:
        objects = _unfolded(objects[0][1], wanted) or objects
    if not objects or not few_enough(len(objects), uri, problems):
        if complete and not objects:
            problems.add(uri, "", "is empty", "write one object per line")
        return None
    header = tuple(dict.fromkeys(name for _, row in objects for name in row))
    columns = tuple(wanted.within(header))
    return Table(header, columns, [(line, [row.get(name) for name in columns]) for line, row in objects], complete)


def looks_json(text: str) -> bool:
    """Return whether ``text`` begins with an object, or is an array of objects."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    first = next(_parts(text), (1, ""))[1]
    return (first.lstrip().startswith("{") and _is_value(first)) or bool(_whole(text))


def _lines(uri: str, text: str, problems: ProblemList) -> tuple[bool, Objects]:
    """Return whether each line of a text holds an object, and the objects."""
    objects: Objects = []
    complete = True
    for line, part in _parts(text):
        try:
            row = _DECODER.decode(part)
        except (ValueError, RecursionError) as error:
            what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            column = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            message = f"is not a JSON object{column}: {what}"
            problems.add(uri, "", message, "write one object per line", line=line, kind="json")
            complete = False
            continue
        if isinstance(row, dict):
            objects.append((line, row))
        else:
            problems.add(uri, "", "is not a JSON object", "write one object per line", line=line, kind="json")
            complete = False
    return complete, objects


def _parts(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines(): JSON strings may hold U+2028 and the like.
    parts = text.split("\n" if "\n" in text else "\r")
    return ((line, part) for line, part in enumerate(parts, start=1) if part.strip())


def _whole(text: str) -> Objects | None:
    """Return the objects of an array, or of objects that span lines; ``None`` if each line is a value of its own."""
    first = next(_parts(text), (1, ""))[1]
    if not first.lstrip().startswith("[") and _is_value(first):
        return None
    objects: Objects = []
    line, place = 1, 0
    try:
        while place < len(text):
            begin = _next(text, place)
            if begin >= len(text):
                break
            line += text.count("\n", place, begin)
            value, end = _DECODER.raw_decode(text, begin)
            if isinstance(value, list) and not objects and not text[end:].strip():
                rows = list(enumerate(value, start=1))
                return rows if rows and all(isinstance(row, dict) for _, row in rows) else None
            if not isinstance(value, dict):
                return None
            objects.append((line, value))
            line += text.count("\n", begin, end)
            place = end
    except (ValueError, RecursionError):
        return None
    return objects


def _spread(text: str) -> bool:
    """Return whether a value clearly spans several lines."""
    first = next(_parts(text), (1, ""))[1].strip()
    return first in ("[", "{", "[{") and "\n" in text.strip()


def _where_it_breaks(text: str) -> tuple[str, str]:
    try:
        _DECODER.decode(text)
    except json.JSONDecodeError as error:
        message = f"is not JSON from line {error.lineno}, column {error.colno} on: {error.msg}"
        return message, "correct it there, or write one object per line"
    except (ValueError, RecursionError) as error:
        return f"is not a list of JSON objects: {error}", "write one object per line"
    return "is JSON, but not a list of objects", "write one object per line"


def _next(text: str, place: int) -> int:
    """Return where the next value begins, after white space and commas."""
    while place < len(text) and text[place] in " \t\r\n,":
        place += 1
    return place


def _is_value(part: str) -> bool:
    try:
        _DECODER.decode(part)
    except (ValueError, RecursionError):
        return False
    return True


def _unfolded(one: Object, wanted: Wanted) -> Objects | None:
    """Return the rows that a single object holds; ``None`` if it is a row itself."""
    values = list(one.values())
    rows: list[Object] | None = None
    if len(wanted.within(one)) > 1:
        if all(isinstance(value, list) for value in values) and len(set(map(len, values))) == 1:
            rows = [dict(zip(one, cells, strict=True)) for cells in zip(*values, strict=True)]
        elif all(isinstance(value, dict) and value.keys() == values[0].keys() for value in values):
            rows = [{name: cells[key] for name, cells in one.items()} for key in values[0]]
    elif values and all(isinstance(value, dict) and len(wanted.within(value)) > 1 for value in values):
        rows = values
    else:
        lists = [value for value in values if isinstance(value, list) and value and isinstance(value[0], dict)]
        if len(lists) == 1 and all(isinstance(row, dict) and len(wanted.within(row)) > 1 for row in lists[0]):
            rows = lists[0]
    return None if rows is None else list(enumerate(rows, start=1))


def _distinct(pairs: list[tuple[str, Any]]) -> Object:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("it holds a key twice")
    return row


def _constant(name: str) -> None:
    if name == "NaN":
        return
    raise ValueError(f"it holds {name}, which is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_constant)
