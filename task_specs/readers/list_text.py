"""Text of a data set's list, in various encodings and with various separators."""

from __future__ import annotations

from collections.abc import Collection

from infra.text_encoding import unicode_encoding

_SEPARATORS = (None, "\t", ",", ";", "|")


def decoded(data: bytes) -> tuple[str, bool]:
    """Return the text, and whether it was read as Latin-1, because it is not UTF-8 and has no byte order mark."""
    encoding = unicode_encoding(data)
    if encoding != "utf-8-sig":
        return data.decode(encoding, errors="replace"), False
    try:
        return data.decode(encoding), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def fields(line: str, counts: Collection[int]) -> list[str]:
    """Return the fields of a line, separated by white space, tabs, commas, semicolons or bars, whichever first gives
    one of the ``counts``; by white space if none does."""
    parted = [[field.strip() for field in line.split(separator)] for separator in _SEPARATORS]
    return next((found for found in parted if len(found) in counts), parted[0])
