"""How far probabilities can be taken at their word, and the temperature that makes it further.

Guo et al., On calibration of modern neural networks, ICML 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of equal width between 0 and 1."""
LEAST, MOST = 0.05, 20.0
"""Temperatures that are looked for."""


def softmax(scores: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of classes, float64 [examples, classes]; NaN where a score is not finite."""
    with np.errstate(invalid="ignore"):
        shifted = (scores.astype(np.float64) - scores.max(axis=1, keepdims=True)) / temperature
        odds = np.exp(shifted)
        shares: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return shares


class CalibrationError:
    """Expected calibration error: distance between confidence and accuracy, mean over ``BINS`` bins by their examples.

    Args:
        confidence: probability of the predicted class, float64 [examples].
        right: whether it was the label, bool [examples].
    """

    def __init__(self, confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> None:
        # Bins are open below and closed above, as in the paper.
        with np.errstate(invalid="ignore"):
            self._bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self._gaps = right - confidence

    def __call__(self, weights: NDArray[np.float64] | None = None) -> float:
        """The error, where each example counts as often as its weight says, float64 [examples]; once where left out."""
        if weights is None:
            weights = np.ones(len(self._bins))
        gaps = np.bincount(self._bins, weights * self._gaps, minlength=BINS)
        return float(np.abs(gaps).sum() / weights.sum())


def best_temperature(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature by which to divide scores for the least cross-entropy.

    Args:
        scores: of examples that were not tuned on, float32 [examples, classes].
        labels: class numbers, int64 [examples].

    Returns:
        Between ``LEAST`` and ``MOST``; 1.0 where every example has its label's score on top, since then the least
        cross-entropy is that of certainty, whatever the scores are worth.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    of_labels = shifted[rows, labels]
    if (of_labels == 0).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((np.log(np.exp(scale * shifted).sum(axis=1)) - scale * of_labels).mean())

    found = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded", options={"xatol": 1e-4})
    return round(float(np.exp(found.x)), 4)
