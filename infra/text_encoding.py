"""Which Unicode encoding a text was saved in."""

from __future__ import annotations

import codecs
from typing import Final

# The longer ones first, of which the shorter are beginnings.
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def unicode_encoding(data: bytes) -> str:
    """The encoding that the byte order mark of a text says: ``utf-16`` or ``utf-32``; without it ``utf-8-sig``."""
    return next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8-sig")
