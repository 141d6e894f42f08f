"""The text of a data set's list, in whatever encoding and with whatever separators it was saved."""

from __future__ import annotations

from collections.abc import Collection

from infra.text_encoding import unicode_encoding

_SEPARATORS = (None, "\t", ",", ";", "|")


def decoded(data: bytes) -> tuple[str, bool]:
    """The text, and whether it was read as Latin-1 because it is neither UTF-8 nor has a byte order mark."""
    encoding = unicode_encoding(data)
    if encoding != "utf-8-sig":
        return data.decode(encoding, errors="replace"), False
    try:
        return data.decode(encoding), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def fields(line: str, counts: Collection[int]) -> list[str]:
    """The fields of a line: parted by white space or else by tabs, commas, semicolons or bars, whichever gives one of
    the ``counts``; by white space if none does."""
    parted = [[field.strip() for field in line.split(separator)] for separator in _SEPARATORS]
    return next((found for found in parted if len(found) in counts), parted[0])
