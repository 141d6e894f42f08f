"""Bytes that were compressed as a whole, unpacked within bounds."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Protocol

from infra.printable import in_ascii
from workers.damage import Damaged

_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


class _Unpacker(Protocol):
    """What the three of the standard library have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def unpacked(data: bytes, *, limit: int) -> bytes:
    """The content of what zlib, gzip, bzip2, xz or lzma compressed, its checksum compared; anything else as it is.

    Args:
        data: of a file.
        limit: refuse more content than these bytes, before they fill the memory.

    Raises:
        Damaged: it ends too early, goes on behind its end, or its checksum differs.
        ValueError: its content is larger than ``limit``.
    """
    if data.startswith((b"\x1f\x8b", b"\x78")):
        unpacker: _Unpacker = zlib.decompressobj(_ZLIB_OR_GZIP)
    elif data.startswith(b"BZh"):
        unpacker = bz2.BZ2Decompressor()
    elif data.startswith((b"\xfd7zXZ", b"\x5d\x00")):
        unpacker = lzma.LZMADecompressor(memlimit=limit)
    else:
        return data
    try:
        content = unpacker.decompress(data, limit + 1)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise Damaged(f"its compressed content cannot be read: {in_ascii(error)}") from error
    if len(content) > limit:
        raise ValueError(f"more than {limit} bytes when it is unpacked")
    if not unpacker.eof:
        raise Damaged("its compressed content ends too early")
    if unpacker.unused_data:
        raise Damaged(f"{len(unpacker.unused_data)} bytes follow its compressed content")
    return content
