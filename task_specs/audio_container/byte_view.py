"""A view of a recording's bytes within its file, with corrected bytes in its header."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import BinaryIO


class ByteView(io.RawIOBase):
    """Part of a file as a file, with some bytes replaced and others prepended.

    Decoders seek wherever a header sends them and cannot pass on exceptions, so positions outside the view are moved to
    its nearest end, where nothing is read.

    Args:
        file: whole file; its position changes.
        begin: position in bytes at which the part begins.
        end: position at which it ends; ``None``: the end of the file.
        before: bytes prepended to the part.
        replaced: replacement bytes by position in the part.
    """

    def __init__(
        self,
        file: BinaryIO,
        begin: int = 0,
        end: int | None = None,
        *,
        before: bytes = b"",
        replaced: Mapping[int, bytes] | None = None,
    ) -> None:
        self._file, self._begin = file, begin
        self._end = file.seek(0, os.SEEK_END) if end is None else end
        self._before = before
        self._replaced = dict(replaced or {})
        self._position = 0
        self.size = len(before) + max(0, self._end - begin)

    def part(self, begin: int, end: int | None = None) -> ByteView:
        """Return bytes ``begin`` to ``end`` as a view; this view must have no prepended bytes."""
        return ByteView(self._file, self._begin + begin, self._end if end is None else self._begin + end)

    def with_bytes(self, replaced: Mapping[int, bytes]) -> ByteView:
        """Return the view with bytes replaced."""
        return ByteView(self._file, self._begin, self._end, replaced=replaced)

    def preceded_by(self, before: bytes) -> ByteView:
        """Return the view with bytes prepended."""
        return ByteView(self._file, self._begin, self._end, before=before)

    def at(self, place: int, count: int) -> bytes:
        """Return ``count`` bytes from ``place``, or fewer at the end of the view."""
        place = max(0, place)
        count = max(0, min(count, self.size - place))
        data = self._before[place : place + count]
        if len(data) < count:
            self._file.seek(self._begin + place + len(data) - len(self._before))
            data += self._file.read(count - len(data))
        for start, new in self._replaced.items():
            if place < start + len(new) and start < place + len(data):
                first, last = max(start, place), min(start + len(new), place + len(data))
                data = data[: first - place] + new[first - start : last - start] + data[last - place :]
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence, 0)
        self._position = min(max(0, start + offset), self.size)
        return self._position

    def readinto(self, buffer: object, /) -> int:
        room = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any buffer
        data = self.at(self._position, len(room))
        room[: len(data)] = data
        self._position += len(data)
        return len(data)
