"""Reads a table from delimited text, JSON or Parquet, with the line of every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra import object_storage
from infra.foreign_file import Beginnings, FileKind, foreign_file, recognised
from infra.text_encoding import unicode_encoding
from task_specs.problems import ProblemList
from task_specs.readers.delimited_table import looks_delimited, read_delimited
from task_specs.readers.headless import list_of_toolkit
from task_specs.readers.json_table import looks_json, read_json
from task_specs.readers.parquet_table import MAGIC, read_parquet

MAX_TEXT_BYTES = 1 << 30
"""Of a table that is text."""
MAX_ROWS = 10_000_000
"""Of any table: what it takes in memory has a bound, however few bytes a file spends on a row."""


@dataclass(frozen=True)
class Table:
    """The rows of a manifest.

    Attributes:
        header: names of all columns of the file.
        columns: those that were asked for, in the order of their cells.
        rows: line or row number, from 1, and one cell a column; ``None`` where a row has none.
        complete: whether every row could be read.
        decimal_comma: whether its numbers may have a comma before their decimals.
        recordings: columns that hold recordings, or paths in their place.
    """

    header: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[tuple[int, Sequence[object]]]
    complete: bool = True
    decimal_comma: bool = False
    recordings: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Wanted:
    """The columns of a table that its reader looks at.

    Args:
        names: theirs, in any case.
        recordings: those that may hold whole recordings in place of their paths.
    """

    names: frozenset[str]
    recordings: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], *, recordings: Iterable[str] = ()) -> Wanted:
        return cls(frozenset(map(plain, names)), frozenset(map(plain, recordings)))

    def within(self, header: Iterable[str]) -> list[str]:
        """The names in ``header`` that are wanted."""
        return [name for name in header if plain(name) in self.names or plain(name) in self.recordings]


def plain(name: str) -> str:
    """A column's name without case and space at either end, by which one is found that is spelled otherwise."""
    return name.strip("\ufeff\u200b \t\r\n\xa0").casefold()


def distinct(columns: Sequence[str], uri: str, line: int | None, problems: ProblemList) -> bool:
    """Whether no two columns have the same name; those that do are noted."""
    twice = sorted(name for name, count in Counter(columns).items() if count > 1)
    for name in twice:
        problems.add(uri, name, "there are two columns of this name", "rename one of them", line=line, kind="twice")
    return not twice


def few_enough(count: int, uri: str, problems: ProblemList) -> bool:
    """Whether a table of so many rows is read; otherwise that is noted."""
    if count > MAX_ROWS:
        problems.add(uri, "", f"has more than the {MAX_ROWS:,} rows that are read", "use a part of it")
    return count <= MAX_ROWS


_AS_CSV: Final = "save it as 'CSV UTF-8' and name that file"
_WRITE_CSV: Final = "write the table as CSV"

_BEGINNINGS: Final[Beginnings] = (
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook", _AS_CSV),
    # A workbook names its parts early; any other ZIP file is an archive.
    (rb"PK\x03\x04.{,4096}opendocument\.spreadsheet", "an OpenDocument spreadsheet", _AS_CSV),
    (rb"PK\x03\x04.{,4096}(\[Content_Types\]\.xml|xl/|docProps/)", "an Excel workbook", _AS_CSV),
    (rb"ARROW1\0", "an Arrow file", "write it as Parquet"),
    (rb"FEA1\0", "a Feather file", "write it as Parquet"),
    (rb"\xff\xff\xff\xff", "an Arrow stream, as Hugging Face caches it", "write it with Dataset.to_parquet"),
    (rb"Obj\x01", "an Avro file", "write it as Parquet"),
    (rb"SQLite format 3\0", "an SQLite database", _WRITE_CSV),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _WRITE_CSV),
    (rb"\x93NUMPY", "a NumPy array", _WRITE_CSV),
    (rb"%PDF-", "a PDF document", _WRITE_CSV),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", "an XML document", f"fetch the file again, or {_WRITE_CSV}"),
    (rb"\{\\rtf", "an RTF document", "save it as plain text"),
    (rb"\x80[\x02-\x05]", "a pickle, which can run any program and is never read", "write it as CSV or Parquet"),
    (rb"fLaC\0|OggS\0|RIFF.{4}WAVE", "a recording", "name the table that lists the recordings"),
)


def not_a_table(data: bytes) -> FileKind | None:
    """What ``data`` is by its first bytes if that is no table that can be read; ``None`` if it may be one."""
    return recognised(data, _BEGINNINGS) or foreign_file(data)


_SEPARATORS: Final = {"csv": ",", "tsv": "\t", "tab": "\t", "txt": "\t"}
_JSON: Final = ("jsonl", "ndjson", "json")


def read_table(uri: str, wanted: Wanted, problems: ProblemList, *, data: bytes | None = None) -> Table | None:
    """The table in a file; ``None`` if there is none that can be read, which is then a problem.

    The ending says what it is written in, and gives way to what the file plainly holds: JSON, tabs under ``.csv``,
    Parquet. Text is UTF-8, or UTF-16 with a byte order mark.

    Args:
        uri: the file.
        wanted: the columns its reader looks at.
        problems: where faults are noted.
        data: what the file holds, if that has been read.

    Raises:
        MissingExtra: a Parquet file, and pyarrow is not installed.
        StorageError: the file cannot be read.
    """
    ending = object_storage.basename(uri).rpartition(".")[2].lower()
    if data is None:
        if not object_storage.is_s3(uri) and Path(uri).is_dir():
            problems.add(uri, "", "is a directory", "name the table in it")
            return None
        if ending == "parquet" and _begins_as_parquet(uri):
            return read_parquet(uri, wanted, problems)
        data = object_storage.read_bytes(uri, limit=MAX_TEXT_BYTES)
    if data.startswith(MAGIC):
        return read_parquet(uri, wanted, problems, data=data)
    kind = not_a_table(data)
    if kind is None and ending == "parquet":
        kind = FileKind("not a Parquet file", "write it anew; if it is text, name it .csv, .tsv or .jsonl")
    if kind is not None:
        problems.add(uri, "", f"is {kind.what}", kind.remedy)
        return None
    text = _decoded(uri, data, problems)
    return None if text is None else _text_table(uri, ending, text, wanted, problems)


def _text_table(uri: str, ending: str, text: str, wanted: Wanted, problems: ProblemList) -> Table | None:
    if ending in _JSON:
        if text.lstrip()[:1] in ("{", "[") or not looks_delimited(text, wanted):
            return read_json(uri, text, wanted, problems)
        return read_delimited(uri, text, ",", wanted, problems)
    if looks_json(text):
        return read_json(uri, text, wanted, problems)
    if ending in _SEPARATORS or looks_delimited(text, wanted):
        return read_delimited(uri, text, _SEPARATORS.get(ending, ","), wanted, problems)
    said = list_of_toolkit([line.split("\t") for line in text[:4096].splitlines()[:5]])
    unknown = "the format of this file is not known", "name it .csv, .tsv, .jsonl or .parquet"
    problems.add(uri, "", *(said or unknown))
    return None


def _begins_as_parquet(uri: str) -> bool:
    """Whether a file is Parquet, of which only its end and what is asked for is read, however large it is."""
    system, path = object_storage.arrow_filesystem(uri)
    if not object_storage.exists(uri):
        return False
    try:
        with system.open_input_file(path) as file:
            return bool(file.read(len(MAGIC)) == MAGIC)
    except OSError:
        # Reading it as bytes says what is wrong with it.
        return False


def _decoded(uri: str, data: bytes, problems: ProblemList) -> str | None:
    encoding = unicode_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            problems.add(uri, "", f"is not the {encoding.upper()} text that its first bytes say", "save it as UTF-8")
            return None
        line = data.count(b"\n", 0, error.start) + 1
        remedy = "save it as UTF-8 ('CSV UTF-8' in Excel), or convert it, such as with 'iconv -f WINDOWS-1252 -t UTF-8'"
        problems.add(uri, "", "is not UTF-8 text", remedy, line=line)
        return None
    if text.count("\0") > len(text) // 4:
        problems.add(uri, "", "seems to be UTF-16 text without a byte order mark", "save it as UTF-8")
        return None
    return text
