"""Which rows share a padded grid in attention."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def length_groups(lengths: NDArray[np.int64], *, prefix: int = 0, cost: int) -> list[NDArray[np.int64]]:
    """Rows parted into groups of similar lengths, with the least computed cells.

    Rows of n tokens in a group whose longest has T compute T x (prefix + T) scores each. The parting is the best one
    (a shortest path over the distinct lengths, rounded up to multiples of 4).

    Args:
        lengths: tokens of each row, int64 [rows].
        prefix: keys of each row besides its tokens.
        cost: cells that one more group is worth; a grid of 8 rows of 85 tokens has 60,000.

    Returns:
        Rows of each group, shorter groups first; within a group in their order.
    """
    rounded = -(-lengths // 4) * 4
    sizes, counts = np.unique(rounded, return_counts=True)
    area = sizes * (sizes + prefix)
    rows_before = np.concatenate([[0], np.cumsum(counts)])
    best = np.zeros(len(sizes) + 1)
    first = np.zeros(len(sizes) + 1, dtype=np.int64)
    for end in range(1, len(sizes) + 1):
        costs = best[:end] + (rows_before[end] - rows_before[:end]) * area[end - 1] + cost
        first[end] = int(costs.argmin())
        best[end] = costs[first[end]]
    groups = []
    end = len(sizes)
    while end:
        start = first[end]
        groups.append(np.flatnonzero((rounded >= sizes[start]) & (rounded <= sizes[end - 1])))
        end = int(start)
    return groups[::-1]
