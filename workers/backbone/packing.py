"""Rows of different lengths without padding.

Everything that works token by token (projections, norms, feed-forward) sees the packed tokens of all rows,
[tokens, dim]; only attention, which is a small share of the work, spreads them over a padded grid
[rows, longest, dim] and takes them back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the packed tokens of a batch stand.

    Attributes:
        rows: number of rows.
        longest: tokens of the longest row.
        cells: cell of each packed token in the padded grid, int64 [tokens].
        offsets: position of each packed token in its row, int64 [tokens].
        dense: every row has ``longest`` tokens, so that grid and packed tokens are the same memory.
    """

    rows: int
    longest: int
    cells: Tensor
    offsets: Tensor
    dense: bool

    @classmethod
    def of(cls, lengths: NDArray[np.int64], device: torch.device | str = "cpu") -> Packing:
        """The packing of rows of these lengths, int64 [rows], each at least 1."""
        longest = int(lengths.max())
        offsets = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        cells = offsets + np.repeat(np.arange(len(lengths)) * longest, lengths)
        return cls(
            rows=len(lengths),
            longest=longest,
            cells=torch.from_numpy(cells).to(device, non_blocking=True),
            offsets=torch.from_numpy(offsets).to(device, non_blocking=True),
            dense=len(cells) == len(lengths) * longest,
        )

    def spread(self, packed: Tensor) -> Tensor:
        """[tokens, dim] to [rows, longest, dim]; cells without a token are zero."""
        if not self.dense:
            grid = packed.new_zeros(self.rows * self.longest, packed.shape[-1])
            packed = grid.index_copy(0, self.cells, packed)
        return packed.view(self.rows, self.longest, -1)

    def collect(self, grid: Tensor) -> Tensor:
        """[rows, longest, dim] to [tokens, dim]."""
        flat = grid.reshape(self.rows * self.longest, -1)
        return flat if self.dense else flat.index_select(0, self.cells)
