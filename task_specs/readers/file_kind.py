"""What a file is that stands where a table was expected, and what makes a table of it."""

from __future__ import annotations

Said = tuple[str, str]
"""What is wrong, and the remedy."""

_AS_CSV = "save it as 'CSV UTF-8' and name that file"
_FETCH = "fetch the file again"

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook", _AS_CSV),
    (b"\x1f\x8b", "is compressed with gzip", "unpack it with 'gunzip --keep' and name that file"),
    (b"BZh91AY&SY", "is compressed with bzip2", "unpack it with 'bunzip2 --keep' and name that file"),
    (b"\xfd7zXZ\0", "is compressed with xz", "unpack it with 'unxz --keep' and name that file"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "unpack it with 'unzstd' and name that file"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", "unpack it and name the table in it"),
    (b"Rar!\x1a\x07", "is a RAR archive", "unpack it and name the table in it"),
    (b"ARROW1\0", "is an Arrow file", "write it as Parquet"),
    (b"FEA1\0", "is a Feather file", "write it as Parquet"),
    (b"\xff\xff\xff\xff", "is an Arrow stream, as Hugging Face caches it", "write it with Dataset.to_parquet"),
    (b"Obj\x01", "is an Avro file", "write it as Parquet"),
    (b"SQLite format 3\0", "is an SQLite database", "write the table as CSV"),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file", "write the table as CSV"),
    (b"\x93NUMPY", "is a NumPy array", "write a table as CSV"),
    (b"%PDF-", "is a PDF document", "write the table as CSV"),
    (b"{\\rtf", "is an RTF document", "save it as plain text"),
    (b"fLaC\0", "is a recording", "name the table that lists the recordings"),
    (b"OggS\0", "is a recording", "name the table that lists the recordings"),
)


def not_a_table(data: bytes) -> Said | None:
    """What ``data`` is by its first bytes if that is no table that can be read; ``None`` if it may be one."""
    for beginning, what, remedy in _BEGINNINGS:
        if data.startswith(beginning):
            return what, remedy
    if data.startswith(b"PK\x03\x04"):
        return _archive(data)
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is a pickle, which can run any program and is never read", "write it as CSV or Parquet"
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "is a recording", "name the table that lists the recordings"
    if data[257:262] == b"ustar":
        return "is a tar archive", "unpack it with 'tar -xf' and name the table in it"
    beginning = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    if beginning.startswith(b"version https://git-lfs.github.com/spec/"):
        return "is a git-LFS pointer in place of the table", "run 'git lfs pull' where it was cloned"
    if beginning[:9].lower().startswith((b"<!doctype", b"<html")):
        return "is an HTML page, such as a server sends with an error", _FETCH
    if beginning.startswith(b"<?xml"):
        return "is XML", f"{_FETCH}, or write the table as CSV"
    return None


def _archive(data: bytes) -> Said:
    """A workbook names its parts early; any other zip is an archive."""
    start = data[:4096]
    if b"opendocument.spreadsheet" in start:
        return "is an OpenDocument spreadsheet", _AS_CSV
    if b"[Content_Types].xml" in start or b"xl/" in start or b"docProps/" in start:
        return "is an Excel workbook", _AS_CSV
    return "is a zip archive", "unpack it with 'unzip' and name the table in it"
