"""Reading of a table in any of the supported formats."""

from __future__ import annotations

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
from task_specs.readers.table import MAX_TEXT_BYTES, Table, Wanted

_SEPARATORS: Final = {"csv": ",", "tsv": "\t", "tab": "\t", "txt": "\t"}
_JSON: Final = ("jsonl", "ndjson", "json")


def read_table(uri: str, wanted: Wanted, problems: ProblemList, *, data: bytes | None = None) -> Table | None:
    """Read the table in a file; ``None`` if there is no readable one, which is reported as a problem.

    The ending gives the format, unless the file clearly holds another: JSON, tabs under ``.csv``, or Parquet. Text is
    UTF-8, or UTF-16 with a byte order mark.

    Args:
        uri: URI of the file.
        wanted: columns to read.
        problems: list for problems.
        data: content of the file, if it was read already.

    Raises:
        MissingExtra: the file is Parquet, but pyarrow is not installed.
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
        kind = FileKind("not a Parquet file", "write it again; if it is text, name it .csv, .tsv or .jsonl")
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
    """Return whether a file begins as Parquet, which is read in parts, so that it may be large."""
    system, path = object_storage.arrow_filesystem(uri)
    if not object_storage.exists(uri):
        return False
    try:
        with system.open_input_file(path) as file:
            return bool(file.read(len(MAGIC)) == MAGIC)
    except OSError:
        # Reading it as bytes reports the problem.
        return False


def _decoded(uri: str, data: bytes, problems: ProblemList) -> str | None:
    encoding = unicode_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            problems.add(uri, "", f"is not {encoding.upper()} text, although it begins like it", "save it as UTF-8")
            return None
        line = data.count(b"\n", 0, error.start) + 1
        remedy = "save it as UTF-8 ('CSV UTF-8' in Excel), or convert it, such as with 'iconv -f WINDOWS-1252 -t UTF-8'"
        problems.add(uri, "", "is not UTF-8 text", remedy, line=line)
        return None
    if text.count("\0") > len(text) // 4:
        problems.add(uri, "", "seems to be UTF-16 text without a byte order mark", "save it as UTF-8")
        return None
    return text


_AS_CSV: Final = "save it as 'CSV UTF-8' and name that file"
_WRITE_CSV: Final = "write the table as CSV"

_BEGINNINGS: Final[Beginnings] = (
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook", _AS_CSV),
    # Workbooks name their parts near the beginning; other ZIP files are archives.
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
    """Return the kind of a file that is not a readable table, by its first bytes; ``None`` if it may be one."""
    return recognised(data, _BEGINNINGS) or foreign_file(data)
