"""Untrusted text for terminals, logs, tables and Markdown, with control characters spelled out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence


def first_of(items: Sequence[str], most: int, between: str = ", ") -> str:
    """Return the first items and the number of others: ``a, b (and 3 more)``."""
    more = f" (and {len(items) - most} more)" if len(items) > most else ""
    return between.join(items[:most]) + more


_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed
    "\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # unseen; joiners are letters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions of writing
    "\u2028\u2029"  # ends of lines and paragraphs
    "\ud800-\udfff]"  # bytes of a file name that are not UTF-8, and halves of surrogate pairs
)
# Full-width characters count as their ASCII forms in Japanese and Chinese locales.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LINE_STEERING = re.compile(rf"[\t\n]|{_STEERING.pattern}")


def printable(text: str) -> str:
    r"""Return text as one line with every character visible: ``\x1b``, ``\n``, ``\u202e``, and ``\xf6`` for a byte of a
    file name that is not UTF-8."""
    return _LINE_STEERING.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Return text like `printable`, but with its line breaks and tabs."""
    return _STEERING.sub(_escape, text)


def printable_json(document: str) -> str:
    """Return a JSON document with these characters as JSON escapes, which its readers undo."""
    return _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], document)


def spreadsheet_cell(text: str) -> str:
    """Return text as one line that a spreadsheet shows literally: a quote precedes what would be a formula; numbers
    stay numbers."""
    shown = printable(text)
    return f"'{shown}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else shown


def in_ascii(text: object, most: int = 80) -> str:
    """Return the beginning of text, such as a name in a binary file, with escapes for all but printable ASCII."""
    return ascii(str(text))[1:-1][:most]


def is_text(name: str) -> bool:
    """Return whether a file name is UTF-8, so that it can be stored, hashed and sent."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode("ascii")


_SPECIAL = re.compile(
    r"[\\`*_{}\[\]<>|~$&]"  # emphasis, code, links, HTML, cells of tables, formulas
    r"|:(?=//)|(?<=www)\.",  # what makes a link of an address that stands by itself
    re.IGNORECASE,
)


def markdown_text(text: str) -> str:
    """Return text as one line of Markdown, for a paragraph, a list entry or a table cell."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", printable(text))
