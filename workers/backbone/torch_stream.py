"""What ``torch.save`` wrote before torch 1.6: pickles one after the other, and behind them the numbers of all storages.

It holds no checksums. What can be compared are its lengths, which must be exact.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Mapping
from typing import Any

from workers.damage import Damaged
from workers.pickled_tensors import PickledStorage

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
