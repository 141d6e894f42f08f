"""Errors of a detector at every threshold, and the rate at which both kinds are equal."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-12
Floats = NDArray[np.float64]


class ErrorRates:
    """The detection error tradeoff of scores.

    Args:
        scores: higher is more positive, float64 [examples].
        positive: which examples are, bool [examples].

    Attributes:
        thresholds: every distinct score, ascending, and infinity; an example is accepted where its score is at least
            the threshold, float64 [thresholds].
    """

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        self._positive = positive[self._order].astype(np.float64)
        ranked = scores[self._order]
        self._starts = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1
        self.thresholds: Floats = np.concatenate([ranked[:1], ranked[self._starts], [np.inf]])

    def rates(self, weights: Floats | None = None) -> tuple[Floats, Floats]:
        """Misses and false alarms at each threshold.

        Args:
            weights: how often each example counts, float64 [examples]; once where left out.

        Returns:
            Share of positive examples that are rejected, and of negative ones that are accepted, float64
            [thresholds] each; NaN where there is no example of the kind.
        """
        counts = np.ones(len(self._order)) if weights is None else weights[self._order]
        misses = counts * self._positive
        rejected, below = self._below(misses), self._below(counts - misses)
        with np.errstate(invalid="ignore", divide="ignore"):
            return rejected / rejected[-1], 1 - below / below[-1]

    def equal_error_rate(self, weights: Floats | None = None) -> float:
        """Mean of the two rates at the threshold where they are closest, as ASVspoof's own scripts have it; where two
        are equally close, the mean over both, so that it is the same whichever class is the positive one.

        https://github.com/asvspoof-challenge/2021/blob/main/eval-package/eval_metrics.py

        Args:
            weights: as for ``rates``.

        Returns:
            A share; NaN where all examples are of one kind.
        """
        misses, alarms = self.rates(weights)
        gaps = np.abs(misses - alarms)
        if np.isnan(gaps).any():
            return math.nan
        # Thresholds between which there is no weight are one and the same point, so that the ends stand for all.
        ends = np.flatnonzero(gaps <= gaps.min() + _ROUNDING)[[0, -1]]
        return float((misses[ends] + alarms[ends]).mean() / 2)

    def _below(self, counts: Floats) -> Floats:
        """Sums over the examples below each threshold."""
        sums = np.concatenate([[0.0], np.cumsum(counts)])
        below: Floats = sums[np.concatenate([[0], self._starts, [len(counts)]])]
        return below
