"""Memory: telling that it ran out from other errors, and giving back what the C library keeps."""

from __future__ import annotations

import ctypes
import gc
import sys

import torch


def trim() -> None:
    """Return freed memory to the operating system; on Linux, whose C library would keep it.

    Tensors of ever other sizes between small objects that stay would otherwise leave ever more holes.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


_SAYINGS = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")
"""By which errors without a type of their own tell it: torch's allocator on CPUs, and its kernels."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in _SAYINGS)


def release(device: torch.device) -> None:
    """Give back what a pass that was broken off has left."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
