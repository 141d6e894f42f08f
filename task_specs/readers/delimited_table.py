"""Reading of tables as text, with cells separated by commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from task_specs.problems import ProblemList
from task_specs.readers.headless import without_header
from task_specs.readers.table import Table, Wanted, distinct, few_enough

SEPARATORS: Final = (",", "\t", ";", "|")

# A cell may hold the units of a long recording; the csv module's own limit is 128 KiB.
_CELL_CHARACTERS: Final = 1 << 24
_TYPOGRAPHIC: Final = "“”„‟‘’‚«»"

Row = tuple[int, list[str]]


@dataclass(frozen=True)
class _Dialect:
    """Separator and quotes of the cells of a text."""

    delimiter: str
    quote: str | None = '"'
    spaced: bool = False

    def rows(self, text: str, first: int) -> Iterator[Row]:
        """Yield the rows of a text whose first line has the number ``first``, each with its first line.

        Raises:
            _Broken: quotes do not match.
        """
        csv.field_size_limit(_CELL_CHARACTERS)
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self.delimiter,
            quotechar=self.quote,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            skipinitialspace=self.spaced,
            strict=True,
        )
        line = first
        try:
            for row in reader:
                yield line, row
                # A quoted cell may span lines.
                line = first + reader.line_num
        except csv.Error as error:
            raise _Broken(line, str(error)) from error


class _Broken(Exception):
    """Quotes that do not match, so that the start of the next row is unknown."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line, self.reason = line, reason


@dataclass
class _Body:
    """The rows below a header that have a cell for each column, those that do not, and why reading ended."""

    rows: list[Row]
    uneven: list[tuple[int, int]]
    broken: _Broken | None = None

    @property
    def sound(self) -> bool:
        return not self.uneven and self.broken is None


def read_delimited(uri: str, text: str, separator: str, wanted: Wanted, problems: ProblemList) -> Table | None:
    """Read the table in ``text``; ``None`` if there is none, which is reported as a problem.

    The separator is the one that makes the first row hold wanted columns, or that a spreadsheet's first line ``sep=;``
    names. Columns without a name and empty rows, as spreadsheets leave them, are left out.

    Args:
        uri: URI of the file.
        text: content of the file.
        separator: separator that the file's ending stands for.
        wanted: columns to read.
        problems: list for problems.
    """
    text, first, separators = _begun(text, separator)
    dialect, line, header = _header(text, first, separators, wanted)
    if not header:
        if _told(_body(dialect, text, first, 0, ()), 0, uri, problems):
            problems.add(uri, "", "is empty", "write a header and rows")
        return None
    if all(name[:1] in _TYPOGRAPHIC and name[-1:] in _TYPOGRAPHIC for name in header if name):
        message = "the cells are in typographic quotes"
        problems.add(uri, "", message, 'replace them by straight ones, such as "path"', line=line)
        return None
    names = tuple(name for name in header if name)
    if not wanted.within(names):
        rows = (row for _, row in zip(range(5), _cautious(dialect.rows(text, first)), strict=False))
        said = without_header([row for _, row in rows if any(row)])
        if said is not None:
            problems.add(uri, "", *said, line=line)
            return None
    sound = distinct(names, uri, line, problems)
    body = _body(dialect, text, first, line, header)
    if dialect.delimiter == "\t" and (not body.sound or any("\n" in cell for _, row in body.rows for cell in row)):
        # Many programs that write tabs do not quote, so that a quote is an ordinary character.
        bare = _body(replace(dialect, quote=None), text, first, line, header)
        if bare.sound and body.sound and len(bare.rows) != len(body.rows):
            message = "its quotes are ambiguous: they may enclose cells or belong to their text"
            problems.add(uri, "", message, "write it as CSV, or double the quotes that belong to the text")
            sound = False
        body = bare if bare.sound else body
    sound = _told(body, len(header), uri, problems) and sound and few_enough(len(body.rows), uri, problems)
    if len(names) < len(header):
        named = [place for place, name in enumerate(header) if name]
        body.rows = [(at, [row[place] for place in named]) for at, row in body.rows]
    return Table(names, names, list(body.rows), sound, decimal_comma=dialect.delimiter == ";")


def looks_delimited(text: str, wanted: Wanted) -> bool:
    """Return whether the first row of ``text`` holds at least two of the wanted columns."""
    text, first, separators = _begun(text, ",")
    return len(wanted.within(_header(text, first, separators, wanted)[2])) > 1


def _begun(text: str, separator: str) -> tuple[str, int, tuple[str, ...]]:
    """Return the text after a line ``sep=;``, the number of its first line, and possible separators, likeliest
    first."""
    text = text.lstrip("\ufeff")
    named = re.match(r'"?sep=(.)"?[,;\t|]*(\r\n|\n|\r|$)', text, re.IGNORECASE)
    if named is not None:
        return text[named.end() :], 2, (named[1],)
    return text, 1, (separator, *(other for other in SEPARATORS if other != separator))


def _header(text: str, first: int, separators: Sequence[str], wanted: Wanted) -> tuple[_Dialect, int, list[str]]:
    """Return the dialect, and the first row that is not empty, with its line."""
    found: list[tuple[tuple[int, int], _Dialect, int, list[str]]] = []
    for separator in separators:
        dialect = _Dialect(separator)
        line, row = _first_row(dialect, text, first, wanted)
        matches = len(wanted.within(name.strip(" '") for name in row))
        # Without known names the ending decides, unless it leaves all in one cell.
        found.append(((matches, 0 if matches else len(row) > 1), dialect, line, row))
    _, dialect, line, row = max(found, key=lambda candidate: candidate[0])
    if len(row) > 1 and all(cell.startswith(" ") for cell in row[1:]):
        dialect = replace(dialect, spaced=True)
    if len(row) > 1 and all(len(name) > 1 and name[0] == name[-1] == "'" for name in map(str.strip, row)):
        dialect = replace(dialect, quote="'")
        row = [name.strip()[1:-1] for name in row]
    return dialect, line, [name.strip().strip("\ufeff\u200b") for name in row]


def _first_row(dialect: _Dialect, text: str, first: int, wanted: Wanted) -> tuple[int, list[str]]:
    line = first
    remark: list[str] = []
    for line, row in _cautious(dialect.rows(text, first)):
        if not any(map(str.strip, row)):
            continue
        if not row[0].startswith("#"):
            return line, row
        bare = [row[0].lstrip("# "), *row[1:]]
        if len(wanted.within(bare)) > 1:
            return line, bare
        remark = remark or row
    return line, remark


def _cautious(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield the rows up to one that cannot be read."""
    try:
        yield from rows
    except _Broken as broken:
        yield broken.line, []


def _body(dialect: _Dialect, text: str, first: int, header_line: int, header: Sequence[str]) -> _Body:
    body = _Body([], [])
    width = len(header)
    try:
        for line, row in dialect.rows(text, first):
            if line <= header_line:
                continue
            if len(row) != width or not "".join(row[:1]).strip():
                if not any(map(str.strip, row)):
                    continue
                if len(row) > width and not any(map(str.strip, row[width:])):
                    row = row[:width]
                elif len(row) < width and not any(header[len(row) :]):
                    row = row + [""] * (width - len(row))
            if len(row) == width:
                body.rows.append((line, row))
            else:
                body.uneven.append((line, len(row)))
    except _Broken as broken:
        body.broken = broken
    return body


def _told(body: _Body, width: int, uri: str, problems: ProblemList) -> bool:
    """Report rows that could not be read; return whether there were none."""
    for line, cells in body.uneven:
        message = f"has {cells} cells where the header has {width}"
        remedy = "correct the row; put a cell that holds the separator in double quotes"
        problems.add(uri, "", message, remedy, line=line, kind="cells")
    if body.broken is not None:
        remedy = "correct the quotes there; a quote within a quoted cell is doubled"
        message = f"cannot be read from here on ({body.broken.reason})"
        problems.add(uri, "", message, remedy, line=body.broken.line)
    return body.sound
