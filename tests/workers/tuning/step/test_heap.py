from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from infra.tracking import Tracking
from tests.fixtures.gang_bench import Bench
from tests.fixtures.processes import run_processes
from workers.tuning.step import memory as heap
from workers.unit_lm.engine.frozen_linear import product

MIB = 1 << 20


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _multiply_ever_other_shapes(_rank: int) -> None:
    x, weight = torch.zeros(4000, 64), torch.zeros(256, 64)

    def multiply(tokens: range) -> int:
        for number in tokens:
            product(x[:number], weight)
        heap.trim()
        return _resident()

    known = multiply(range(300, 450))
    assert multiply(range(450, 750)) - known < 20 * MIB


def test_kernels_of_ever_other_shapes_do_not_pile_up() -> None:
    # In a process that has not computed anything before.
    run_processes(1, _multiply_ever_other_shapes)


@pytest.fixture
def holes() -> Iterator[None]:
    """86 MiB that were freed between pieces that are still in use."""
    if sys.platform != "linux":
        pytest.skip("only Linux's C library keeps what is freed")
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    # Below the size from which every piece has pages of its own.
    size = 100_000
    pieces = [libc.malloc(size) for _ in range(1000)]
    for piece in pieces:
        ctypes.memset(piece, 1, size)
    for number, piece in enumerate(pieces):
        if number % 10:
            libc.free(piece)
    yield
    for piece in pieces[::10]:
        libc.free(piece)


@pytest.mark.usefixtures("holes")
def test_freed_memory_goes_back_though_some_stays_between() -> None:
    held = _resident()
    heap.trim()
    assert held - _resident() > 50 * MIB


def test_lanes_that_end_give_freed_memory_back(
    tmp_path: Path, silent_tracking: Tracking, request: pytest.FixtureRequest
) -> None:
    bench = Bench(tmp_path, silent_tracking)
    lane = bench.lane("lane")
    # The first one imports what draws pictures.
    bench.finish(bench.run([lane], width=1, name="first"))
    request.getfixturevalue("holes")
    held = _resident()
    bench.finish(bench.run([lane], width=1, name="second"))
    assert held - _resident() > 50 * MIB
