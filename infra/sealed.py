"""Documents that say where they belong, with a digest of both: another document, or one of another place, is no match.

A sealed document is itself JSON, ``{"sha256": DIGEST, "place": PLACE, "content": DOCUMENT}``, byte by byte as `seal`
lays it out. The digest covers every byte that follows it, so a document is compared before anything parses it. It tells
damage and mistakes; who means to deceive can write a digest too, and is told by signatures.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

_HEAD: Final = b'{"sha256": "'
_DIGITS: Final = 64
_TAIL: Final = b"}\n"


def seal(content: bytes, place: str) -> bytes:
    """The sealed document.

    Args:
        content: a JSON document.
        place: where it belongs, by names that stay the same where all of it is moved.
    """
    rest = _lead(place) + content + _TAIL
    return _HEAD + _digest(rest) + rest


def unseal(data: bytes, place: str) -> bytes:
    """The content of a sealed document.

    Raises:
        ValueError: it is not what was sealed for this place, byte by byte; says how that shows.
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
