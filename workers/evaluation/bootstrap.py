"""How far figures would move with another draw of test data.

Efron and Tibshirani, An introduction to the bootstrap, 1993: percentile intervals, over utterances or, where those of
one speaker are not independent, over speakers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
"""The same for all prompts, so that those measured on the same examples see the same draws of them."""

Interval = tuple[float, float]


def resampled(
    figures: Callable[[NDArray[np.float64]], Mapping[str, float]],
    groups: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, NDArray[np.float64]]:
    """Figures of draws with replacement.

    Args:
        figures: those of the examples by how often each counts, float64 [examples].
        groups: number of the group that each example is drawn with, from 0, int64 [examples].
        resamples: draws.

    Returns:
        By figure its values, float64 [resamples]; NaN where a draw has none.
    """
    rng = np.random.default_rng(SEED)
    count = int(groups.max()) + 1
    values: dict[str, list[float]] = {}
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(count, size=count), minlength=count)
        for name, value in figures(drawn[groups].astype(np.float64)).items():
            values.setdefault(name, []).append(value)
    return {name: np.array(column) for name, column in values.items()}


def interval(values: NDArray[np.float64]) -> Interval:
    """Between which the middle ``LEVEL`` of the values lies, those that are numbers."""
    finite = values[np.isfinite(values)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)
