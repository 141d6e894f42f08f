"""The zip archive that ``torch.save`` writes: where each member lies, after its checksum was compared.

Torch's own reader compares none, so that a weight with a flipped bit is a weight like any other.
"""

from __future__ import annotations

import mmap
import struct
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from infra.printable import in_ascii
from workers.untrusted.fault_text import Damaged
from workers.untrusted.pickled_tensors import PickledStorage

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_stream(data: mmap.mmap, load: Callable[[], Any], storages: Mapping[str, PickledStorage]) -> Any:
    """The object of the stream; the storages are told where their numbers are.

    Args:
        data: the file, mapped, at its beginning.
        load: reads the next pickle of ``data``.
        storages: by key, those that ``load`` came upon.

    Raises:
        Damaged: its lengths do not fit together.
        ValueError: it is no such stream.
    """
    if load() != _MAGIC or load() != _VERSION:
        raise ValueError("no file of torch.save")
    machine = load()
    little = not isinstance(machine, dict) or machine.get("little_endian") is not False
    content, keys = load(), load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise Damaged("its list of storages is not that of its tensors")
    for key in keys:
        storage, stated = storages[key], data.read(8)
        if stated != storage.count.to_bytes(8, "little" if little else "big"):
            raise Damaged(f"it ends, or has other numbers, where {storage.count} of a storage must be")
        storage.data, storage.start = data, data.tell()
        storage.swapped = little != (sys.byteorder == "little")
        if storage.start + storage.nbytes > len(data):
            raise Damaged("it ends too early")
        data.seek(storage.nbytes, 1)
    if data.tell() != len(data):
        raise Damaged(f"{len(data) - data.tell()} bytes follow its end")
    return content


LOCAL: Final = b"PK\x03\x04"
"""What an archive begins with."""
_END, _END_SIZE, _LOCAL_SIZE = b"PK\x05\x06", 22, 30
_UNCOUNTED = _LONGEST_COMMENT = 0xFFFF
_BLOCK = 1 << 20


class TorchArchive:
    """Members of an archive by their names without the folder around them.

    Args:
        path: of the file.
        data: the same, mapped.

    Attributes:
        members: first byte and the one behind the last of each member.
        has_checksums: whether its writer computed any; torch can be told not to, and then writes zeros.

    Raises:
        Damaged: a checksum differs, or the archive contradicts itself.
        ValueError: it is no archive of ``torch.save``.
    """

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._data = data
        found = _members(path, data)
        self.has_checksums = any(info.CRC for info in found)
        spans = {info.filename: self._span(info) for info in found}
        pickles = [name for name in spans if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"a zip archive with {len(pickles) or 'no'} data.pkl, where torch.save writes one")
        folder = pickles[0].removesuffix("data.pkl")
        self.members = {name.removeprefix(folder): span for name, span in spans.items()}
        if "constants.pkl" in self.members:
            raise ValueError("a TorchScript program, where torch.save writes weights")
        order = self.content("byteorder") if "byteorder" in self.members else b"little"
        if order not in (b"little", b"big"):
            raise ValueError(f"of a byte order {order[:20]!r}")
        self._swapped = order.decode() != sys.byteorder

    def content(self, name: str) -> bytes:
        """The bytes of a member."""
        start, end = self.members[name]
        return self._data[start:end]

    def place(self, key: str, storage: PickledStorage) -> None:
        """Tells a storage where its numbers are.

        Raises:
            Damaged: they are nowhere, or they are more or fewer than it needs.
        """
        start, end = self.members.get(f"data/{key}", (0, 0))
        if (end - start) // storage.dtype.itemsize != storage.count:
            raise Damaged(f"a storage has {end - start} bytes instead of {storage.nbytes}")
        storage.data, storage.start, storage.swapped = self._data, start, self._swapped

    def _span(self, info: zipfile.ZipInfo) -> tuple[int, int]:
        name = in_ascii(info.filename)
        header = self._data[info.header_offset : info.header_offset + _LOCAL_SIZE]
        if len(header) < _LOCAL_SIZE or not header.startswith(LOCAL):
            raise Damaged(f"{name} is not where the archive says")
        start = info.header_offset + _LOCAL_SIZE + sum(struct.unpack("<HH", header[-4:]))
        end = start + info.file_size
        if end > len(self._data):
            raise Damaged(f"{name} ends behind the file")
        if self.has_checksums and self._checksum(start, end) != info.CRC:
            raise Damaged(f"the checksum of {name} differs")
        return start, end

    def _checksum(self, start: int, end: int) -> int:
        checksum = 0
        for block in range(start, end, _BLOCK):
            checksum = zlib.crc32(self._data[block : min(block + _BLOCK, end)], checksum)
        return checksum


def _members(path: Path, data: mmap.mmap) -> list[zipfile.ZipInfo]:
    """What the archive says it holds, as far as it does not contradict itself."""
    if data.rfind(_END, max(0, len(data) - _END_SIZE - _LONGEST_COMMENT)) < 0:
        raise Damaged("the directory at its end is missing, as where a download broke off")
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except Exception as error:
        # A damaged archive makes zipfile raise nearly any kind of error, of which its documentation names a few.
        raise Damaged(f"its zip archive cannot be read: {in_ascii(error)}") from error
    end = data[-_END_SIZE:]
    if not end.startswith(_END):
        raise Damaged("other bytes follow the end of its archive")
    [count] = struct.unpack("<H", end[10:12])
    if count not in (len(found), _UNCOUNTED):
        raise Damaged(f"its archive has {len(found)} members instead of {count}")
    if min((info.header_offset for info in found), default=0):
        raise Damaged("other bytes stand before its archive")
    names = Counter(info.filename for info in found)
    if len(names) < len(found):
        raise Damaged(f"its archive has two members {ascii(names.most_common(1)[0][0])[:80]}")
    # A small file that unpacks into a huge one is no work of torch's.
    if any(info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size for info in found):
        raise ValueError("compressed, which torch.save never does")
    if sum(info.file_size for info in found) > len(data):
        raise Damaged("its members are larger than the file")
    return found
