"""Detection of a text's Unicode encoding."""

from __future__ import annotations

import codecs
from typing import Final

# Longer marks first, since shorter ones are their beginnings.
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def unicode_encoding(data: bytes) -> str:
    """Return a text's encoding by its byte order mark: ``utf-16`` or ``utf-32``; without a mark ``utf-8-sig``."""
    return next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8-sig")
