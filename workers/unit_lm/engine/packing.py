"""Rows of different lengths without padding.

Everything that works token by token (projections, norms, feed-forward) sees the packed tokens of all rows,
[tokens, dim]; only attention, which is a small share of the work, knows of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIZES_PER_OCTAVE = 16
"""Packed sizes between one power of two and the next."""


def upload(array: NDArray[Any], device: torch.device | str) -> Tensor:
    """An array on a device; a GPU fetches it from pinned memory while the host goes on."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def kernel_size(tokens: int) -> int:
    """The next size that matrix kernels are made for; at most 1/16 more than ``tokens``, and 16 at least.

    oneDNN compiles a kernel for every new shape, which takes as long as a product of a small LM.
    """
    step = max(16, (1 << (tokens - 1).bit_length()) // (2 * SIZES_PER_OCTAVE))
    return -(-tokens // step) * step


@dataclass(frozen=True)
class Packing:
    """Where the packed tokens of a batch stand.

    Attributes:
        lengths: tokens of each row, int64 [rows], on the host.
        offsets: position of each packed token in its row, int64 [tokens]; spare tokens stand at 0.
        spare: tokens after all rows that belong to none and that nothing reads.
    """

    lengths: NDArray[np.int64]
    offsets: Tensor
    spare: int = 0

    @classmethod
    def of(cls, lengths: NDArray[np.int64], device: torch.device | str = "cpu", *, spare: int = 0) -> Packing:
        """The packing of rows of these lengths, int64 [rows], each at least 1."""
        offsets = np.zeros(int(lengths.sum()) + spare, dtype=np.int64)
        offsets[: len(offsets) - spare] = np.arange(len(offsets) - spare) - np.repeat(starts_of(lengths), lengths)
        return cls(lengths, upload(offsets, device), spare)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.lengths.max())


def starts_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """First packed token of each row, int64 [rows]."""
    starts: NDArray[np.int64] = np.cumsum(lengths) - lengths
    return starts
