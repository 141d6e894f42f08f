"""The text of a data set's list, in whatever encoding and with whatever separators it was saved."""

from __future__ import annotations

from collections.abc import Collection

_SEPARATORS = (None, "\t", ",", ";", "|")
_PAGE = (b"<!doctype html", b"<html")
_POINTER = b"version https://git-lfs"


def saved_instead(data: bytes) -> tuple[str, str] | None:
    """What a download saved in place of a file, and the remedy; ``None`` for the file itself."""
    start = data[:64].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if start.startswith(_PAGE):
        return "is a page of the web in place of the file", "get the file itself, not the page that shows it"
    if start.startswith(_POINTER):
        return "is a pointer of git-LFS in place of the file", "run 'git lfs pull' in its repository"
    return None


def decoded(data: bytes) -> tuple[str, bool]:
    """The text, and whether it was read as Latin-1 because it is neither UTF-8 nor UTF-16 with its mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), False
    try:
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def fields(line: str, counts: Collection[int]) -> list[str]:
    """The fields of a line: parted by white space or else by tabs, commas, semicolons or bars, whichever gives one of
    the ``counts``; by white space if none does."""
    parted = [[field.strip() for field in line.split(separator)] for separator in _SEPARATORS]
    return next((found for found in parted if len(found) in counts), parted[0])
