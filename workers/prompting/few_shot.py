"""A few examples of each class, drawn from many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.prompting.balance import combinations


def few_shot(labels: NDArray[np.int64], shots: int, *, seed: int) -> NDArray[np.int64]:
    """Draw examples without replacement.

    Args:
        labels: class numbers, int64 [examples, slots].
        shots: examples of each class, with several slots of each combination of labels; all where there are less.
        seed: of the draw. A larger number of shots with the same seed holds those of a smaller one.

    Returns:
        Example numbers, ascending, int64 [drawn].
    """
    groups = combinations(labels)
    order = np.random.default_rng([seed, 3]).permutation(len(groups))
    by_group = order[np.argsort(groups[order], kind="stable")]
    sizes = np.bincount(groups)
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(by_group[rank < shots])
