"""Telling that memory ran out from other errors."""

from __future__ import annotations

import gc

import torch

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
