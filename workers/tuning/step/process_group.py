"""The ranks that tune a gang together: each works on its own rows of every batch, and all hold the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """One of ``world`` processes that are joined in torch's default process group; alone unless said otherwise."""

    rank: int = 0
    world: int = 1

    def own(self, rows: int) -> NDArray[np.int64]:
        """Places of this rank's rows among ``rows``, int64; every row is one rank's."""
        return np.arange(self.rank, rows, self.world)

    def add(self, values: Tensor) -> Tensor:
        """The sum of all ranks' values, the same on each; in place."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
        return values
