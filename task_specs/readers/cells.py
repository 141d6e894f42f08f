"""Parsing of a manifest's cells."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby, pairwise

from task_specs.validation import described, fault

MAX_UNIT = 2**15 - 1
"""Units are kept as 16-bit integers."""

_UNITS = re.compile(r"[0-9]{1,9}(?: +[0-9]{1,9})*")
_PATH_CHARACTERS = 4096
"""PATH_MAX of Linux; S3 keys have at most 1,024 bytes."""
_ABSENT = frozenset({"nan", "NaN", "NAN", "None", "NULL", "null", "NA", "N/A", "<NA>", "NaT"})
"""What programs write for an empty cell."""
_NOBODY = frozenset({"unknown", "unk", "n/a", "none", "?", "-"})
"""What people write for an unknown speaker."""
_SPREADSHEET_ERROR = re.compile(r"#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NULL!|NUM!|SPILL!|CALC!)")


def text(cell: object) -> str:
    """Return a label, split or name: NFC, without surrounding space; whole numbers and truth values as text.

    Raises:
        pydantic_core.PydanticCustomError: anything else, a spreadsheet's error, or text that is not Unicode.
    """
    if isinstance(cell, bytes):
        cell = _decoded(cell)
    if isinstance(cell, str):
        if not cell.isascii():
            _encodable(cell)
            cell = unicodedata.normalize("NFC", cell)
        elif cell[:1] == "#" and _SPREADSHEET_ERROR.fullmatch(cell):
            raise fault(f"{cell!r} is an error of the spreadsheet", "correct its formula, and save it again")
        return cell.strip()
    if _is_absent(cell):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int):
        return str(cell)
    if isinstance(cell, float | Decimal) and (number := _whole(cell)) is not None:
        return str(number)
    remedy = "write it in quotes" if isinstance(cell, int | float | Decimal) else "write one text in each cell"
    raise fault(f"must be text or a whole number, not {described(cell)}", remedy)


def path(cell: object) -> str:
    """Return a file name unchanged.

    Raises:
        pydantic_core.PydanticCustomError: the cell is empty, or cannot be a file name.
    """
    if _is_absent(cell) or cell == "":
        raise fault("is empty", "write the file's path")
    if isinstance(cell, dict) and isinstance(cell.get("path"), str):
        # Hugging Face's form of a recording outside the table.
        cell = cell["path"]
    if not isinstance(cell, str):
        raise fault(f"must be a path, not {described(cell)}", "write the file's path")
    if len(cell) > _PATH_CHARACTERS:
        raise fault(f"has {len(cell):,} characters, too many for a path", "write the file's path")
    if "\0" in cell:
        raise fault("holds a NUL character", "write the file's path")
    if not cell.isascii():
        _encodable(cell)
    return cell


def speaker(cell: object) -> str:
    """Return the speaker as `text`; empty also for words that mean an unknown speaker."""
    name = text(cell)
    return "" if name in _ABSENT or name.casefold() in _NOBODY else name


def seconds(cell: object) -> float | None:
    """Return a time in seconds from the beginning of the file; ``None`` for an empty cell.

    Raises:
        pydantic_core.PydanticCustomError: the cell is not a number, negative, or not finite.
    """
    if _is_absent(cell) or (isinstance(cell, str) and (not cell.strip() or cell.strip() in _ABSENT)):
        return None
    value = math.nan
    if isinstance(cell, Decimal) and cell.is_finite():
        cell = float(cell)
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        value = float(cell) if abs(cell) < 1e9 else math.inf
    elif isinstance(cell, str) and re.fullmatch(r"\s*[-+]?[0-9.]{1,30}([eE][-+]?[0-9]{1,3})?\s*", cell):
        value = float(cell) if re.search("[0-9]", cell) and cell.count(".") < 2 else math.nan
    if not math.isfinite(value):
        raise fault(f"{described(cell)} is not a number of seconds", "write seconds with a decimal point, such as 1.5")
    if value < 0:
        raise fault(f"{described(cell)} is before the beginning", "write 0 or more")
    return value


def duration(cell: object) -> float | None:
    """Return a length as `seconds`; ``None`` also for -1, which some programs write for an unknown length."""
    return None if cell == -1 or (isinstance(cell, str) and cell.strip() in ("-1", "-1.0")) else seconds(cell)


def seconds_with_comma(cell: object) -> float | None:
    """Return `seconds`, also of a number with a decimal comma, in tables that do not separate cells by commas."""
    if isinstance(cell, str) and cell.count(",") == 1 and "." not in cell:
        return seconds(cell.replace(",", "."))
    return seconds(cell)


def units(cell: object) -> tuple[int, ...]:
    """Return unit numbers, separated by spaces or in a list, which may be text such as ``[71, 12]``.

    Raises:
        pydantic_core.PydanticCustomError: there are no units, or one is not a unit number.
    """
    if isinstance(cell, str):
        written = cell.strip()
        if written[:1] in ("[", "(") or "," in written:
            written = written.strip("[]()").replace(",", " ").strip()
        if _UNITS.fullmatch(written):
            numbers = tuple(map(int, written.split()))
        else:
            numbers = tuple(_unit(word) for word in written.split())
    elif isinstance(cell, Sequence):
        numbers = tuple(_unit(entry) for entry in cell)
    elif cell is None:
        numbers = ()
    else:
        numbers = (_unit(cell),)
    if not numbers:
        raise fault("holds no units", "write unit numbers separated by spaces, or remove the row")
    if max(numbers) > MAX_UNIT:
        raise fault(f"{max(numbers)} is not a unit number", f"units go from 0 to {MAX_UNIT}")
    return numbers


def distinct_units(cell: object) -> tuple[int, ...]:
    """Return unit numbers without adjacent repeats.

    Raises:
        pydantic_core.PydanticCustomError: see `units`, or there are adjacent repeats.
    """
    numbers = units(cell)
    for left, right in pairwise(numbers):
        if left == right:
            message = f"unit {left} follows itself, so these seem to be frames"
            raise fault(message, "name the column, 'columns: {frame_units: units}', or collapse repeats")
    return numbers


def runs(frames: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the units without adjacent repeats, and the number of frames of each."""
    grouped = [(unit, sum(1 for _ in run)) for unit, run in groupby(frames)]
    return tuple(unit for unit, _ in grouped), tuple(length for _, length in grouped)


def _unit(entry: object) -> int:
    if isinstance(entry, str) and re.fullmatch(r"-?[0-9]{1,9}(?:\.0*)?", entry):
        entry = int(entry.partition(".")[0])
    if entry in ("...", "…"):
        raise fault("is a shortened print of a list", "write all unit numbers")
    if isinstance(entry, float) and (number := _whole(entry)) is not None:
        entry = number
    if not isinstance(entry, int) or isinstance(entry, bool):
        raise fault(f"{described(entry)} is not a unit number", "write whole numbers separated by spaces")
    if entry < 0:
        raise fault(f"unit {entry} is negative", "units start at 0; drop padding")
    return entry


def _is_absent(cell: object) -> bool:
    return cell is None or (isinstance(cell, float | Decimal) and math.isnan(cell))


def _whole(number: float | Decimal) -> int | None:
    """Return a float as a whole number if it is one: programs without empty cells but NaN turn columns into floats."""
    return int(number) if math.isfinite(number) and math.fabs(number) < 2**53 and number == int(number) else None


def _decoded(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError as error:
        raise fault("holds bytes that are not UTF-8 text", "write text") from error


def _encodable(cell: str) -> None:
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        raise fault("holds half of a surrogate pair", "write it as UTF-8") from error
