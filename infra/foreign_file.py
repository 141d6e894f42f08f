"""Recognising files that are something else after a failed download, clone or disk, by their first bytes."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple


class FileKind(NamedTuple):
    """Kind of a file, and the remedy.

    Attributes:
        what: kind, with its article, to follow "it is".
        remedy: what to do with the file; empty if only another file helps.
    """

    what: str
    remedy: str


Beginnings = Sequence[tuple[bytes, str, str]]
"""Regular expressions for the first bytes of files, each with the kind and the remedy."""

FETCH_AGAIN: Final = "fetch the file again"
_FROM_PAGE: Final = f"{FETCH_AGAIN}, with its download link"
_NAME_INNER: Final = "and name the file in it"
_TEXT: Final = rb"(?:\xef\xbb\xbf)?\s*"
_TAR: Final = rb".{257}ustar"
_TAR_BLOCK: Final = 512

_BEGINNINGS: Final[Beginnings] = (
    (_TEXT + rb"version https://(git-lfs|hawser)\.", "a git-LFS pointer", "run 'git lfs pull' where it was cloned"),
    (_TEXT + rb"/annex/objects/", "a git-annex pointer", "run 'git annex get' where it was cloned"),
    (_TEXT + rb"<(?i:!doctype|html|head|body)\b", "an HTML page", _FROM_PAGE),
    (_TEXT + rb"<(\?xml|Error>)", "an XML document", _FROM_PAGE),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a ZIP archive", f"unpack it with 'unzip' {_NAME_INNER}"),
    (_TAR, "a tar archive", f"unpack it with 'tar -xf' {_NAME_INNER}"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", f"unpack it with '7z x' {_NAME_INNER}"),
    (rb"Rar!\x1a\x07", "a RAR archive", f"unpack it with 'unrar x' {_NAME_INNER}"),
    (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "compressed with bzip2", "unpack it with 'bunzip2 --keep'"),
    (rb"\xfd7zXZ\x00", "compressed with xz", "unpack it with 'unxz --keep'"),
    (rb"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with 'unzstd'"),
    (rb"%PDF-", "a PDF document", FETCH_AGAIN),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP", "a picture", FETCH_AGAIN),
    (rb"\x00\x05\x16\x07", "what macOS keeps beside a file (AppleDouble)", "remove it"),
    (rb"\x00+\Z", "a file of zeros", FETCH_AGAIN),
)


def foreign_file(head: bytes) -> FileKind | None:
    """Return the kind of a file that is recognisably not what it should be; ``None`` for any other file.

    Args:
    head: first bytes of the file, at least 512 or all of them.
    """
    return _gzipped(head) if head.startswith(b"\x1f\x8b") else recognised(head, _BEGINNINGS)


def recognised(head: bytes, beginnings: Beginnings) -> FileKind | None:
    """Return the first kind that matches; ``None`` if none does."""
    found = (FileKind(what, remedy) for pattern, what, remedy in beginnings if re.match(pattern, head, re.DOTALL))
    return next(found, None)


def beginning_of_text(head: bytes) -> str | None:
    """Return the beginning of a UTF-8 text without its byte order mark; ``None`` if the file is not UTF-8 text."""
    try:
        # The last character may be cut off.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return None
    return text if all(character.isprintable() or character.isspace() for character in text) else None


def _gzipped(head: bytes) -> FileKind:
    try:
        first = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _TAR_BLOCK)
    except zlib.error:
        return FileKind("compressed with gzip and damaged", FETCH_AGAIN)
    if re.match(_TAR, first, re.DOTALL):
        return FileKind("a tar archive", f"unpack it with 'tar -xf' {_NAME_INNER}")
    return FileKind("compressed with gzip", "unpack it with 'gunzip --keep'")
