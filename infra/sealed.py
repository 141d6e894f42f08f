"""Sealed documents, which hold their place and a digest, so that damaged and misplaced documents are detected.

A sealed document is JSON, ``{"sha256": DIGEST, "place": PLACE, "content": DOCUMENT}``, in exactly the layout of `seal`.
The digest covers every byte that follows it, and is checked before anything is parsed. It detects damage and mistakes;
forgeries are detected by signatures.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

_HEAD: Final = b'{"sha256": "'
_DIGITS: Final = 64
_TAIL: Final = b"}\n"


def seal(content: bytes, place: str) -> bytes:
    """Return the sealed form of a document.

    Args:
        content: a JSON document.
        place: place of the document, by names that stay the same if the whole store is moved.
    """
    rest = _lead(place) + content + _TAIL
    return _HEAD + _digest(rest) + rest


def unseal(data: bytes, place: str) -> bytes:
    """Return the content of a sealed document.

    Raises:
        ValueError: the document is damaged or was sealed for another place; the message says which.
    """
    begin = len(_HEAD) + _DIGITS
    rest = data[begin:]
    if not data.startswith(_HEAD) or not rest.endswith(_TAIL):
        raise ValueError("cut off, altered, or written by a version that did not seal it")
    if data[len(_HEAD) : begin] != _digest(rest):
        raise ValueError("altered since it was written")
    lead = _lead(place)
    if not rest.startswith(lead):
        raise ValueError("that of another place")
    return rest[len(lead) : -len(_TAIL)]


def _lead(place: str) -> bytes:
    return b'", "place": ' + json.dumps(place).encode() + b', "content": '


def _digest(rest: bytes) -> bytes:
    return hashlib.sha256(rest).hexdigest().encode()
