"""What a file is that stands where a table was expected, and what makes a table of it."""

from __future__ import annotations

from typing import Final

from infra.foreign_file import Beginnings, FileKind, foreign_file, recognised

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
