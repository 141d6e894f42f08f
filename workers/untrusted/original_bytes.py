"""A small original file, whole, unpacked within bounds; where it is something else, the error says what."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol, TypeVar

from infra import object_storage
from infra.errors import InputError, ObjectNotFound, StorageError
from infra.printable import in_ascii
from workers.untrusted.fault_text import Damaged
from workers.untrusted.file_kinds import HEAD, file_kind

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


Parsed = TypeVar("Parsed")


class Original:
    """What a file is to be.

    Args:
        wanted: in the words of an error, with its article.
        remedy: what to do where it is something else.
        limit: most bytes that it can have.
        error: kind of the errors that are raised.
        kinds: ``FileKind.what`` of files that it can be.
    """

    def __init__(
        self, wanted: str, remedy: str, *, limit: int, error: type[InputError], kinds: Collection[str] = ()
    ) -> None:
        self._wanted, self._remedy, self._limit, self._error = wanted, remedy, limit, error
        self._kinds = kinds

    def read(self, uri: str) -> bytes:
        """The bytes of a file, local or S3.

        Raises:
            InputError: there is no such file, or it is larger than any such file.
            StorageError: the place cannot be read.
        """
        try:
            return object_storage.read_bytes(uri, limit=self._limit)
        except ObjectNotFound as error:
            raise self._error(f"{uri}: there is no such file; {self._remedy}") from error
        except StorageError as error:
            if object_storage.is_s3(uri) or not Path(uri).is_file() or Path(uri).stat().st_size <= self._limit:
                raise
            with Path(uri).open("rb") as file:
                raise self.other(uri, file.read(HEAD)) from error

    def parsed(self, uri: str, parse: Callable[[bytes], Parsed]) -> Parsed:
        """What ``parse`` makes of the bytes of a file.

        Raises:
            InputError: as `read`; the file is damaged or something else, by a ``ValueError`` of ``parse``, or it is
                what ``parse`` says itself.
            StorageError: the place cannot be read.
        """
        data = self.read(uri)
        try:
            return parse(data)
        except InputError:
            raise
        except Damaged as error:
            raise self._error(f"{uri}: damaged ({error}); fetch the file again") from error
        except ValueError as error:
            raise self.other(uri, data, str(error)) from error

    def other(self, uri: str, data: bytes, why: str = "") -> InputError:
        """The error of a file that is something else.

        Args:
            uri: the file.
            data: how it begins.
            why: what is wrong with it, if it is of no other kind that is known.
        """
        kind = file_kind(data)
        if kind is None or kind.what in self._kinds:
            return self._error(f"{uri}: not {self._wanted}{why and f' ({why})'}; {self._remedy}")
        return self._error(f"{uri}: {kind.what} instead of {self._wanted}; {kind.remedy or self._remedy}")
