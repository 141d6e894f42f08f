from __future__ import annotations

import ctypes

import psutil
import pytest
import torch

from tests.fixtures.processes import run_processes
from workers import heap
from workers.backbone.frozen_maps import product

MIB = 1 << 20

LIBC = ctypes.CDLL(None)
FIGURES = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]
pytestmark = pytest.mark.skipif(not hasattr(LIBC, "mallinfo2"), reason="glibc 2.33 or later counts the memory in use")


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIGURES]


def _in_use() -> int:
    """Bytes that were allocated and not freed."""
    LIBC.mallinfo2.restype = _Mallinfo
    return int(LIBC.mallinfo2().uordblks)


def _multiply_ever_other_shapes(_rank: int) -> None:
    x, weight = torch.zeros(4000, 64), torch.zeros(256, 64)

    def multiply(tokens: range) -> int:
        for number in tokens:
            product(x[:number], weight)
        return _in_use()

    known = multiply(range(300, 450))
    assert multiply(range(450, 750)) - known < 20 * MIB


def test_kernels_of_ever_other_shapes_do_not_pile_up() -> None:
    run_processes(1, _multiply_ever_other_shapes)


def test_freed_memory_goes_back_though_some_stays_between() -> None:
    LIBC.malloc.restype, LIBC.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    LIBC.free.argtypes = [ctypes.c_void_p]
    # Below the size from which every allocation has pages of its own.
    size, process = 100_000, psutil.Process()
    blocks = [LIBC.malloc(size) for _ in range(1000)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for number, block in enumerate(blocks):
        if number % 10:
            LIBC.free(block)
    held = process.memory_info().rss
    heap.give_back()
    assert held - process.memory_info().rss > 50 * MIB
    for block in blocks[::10]:
        LIBC.free(block)
