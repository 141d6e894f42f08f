"""How well class scores meet the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from task_specs.metric import MetricName, slot_figure
from workers.evaluation.calibration import CalibrationError, softmax
from workers.evaluation.error_rates import ErrorRates

__all__ = ["Figures", "MetricName", "Predictions", "measure"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """Scores of a split against its labels.

    Attributes:
        scores: class scores of each slot, float32 [examples, classes of the slot].
        labels: class numbers, int64 [examples, slots].
    """

    scores: Sequence[NDArray[np.float32]]
    labels: NDArray[np.int64]

    @property
    def classes(self) -> NDArray[np.int64]:
        """Predicted class numbers, int64 [examples, slots]."""
        return np.stack([scores.argmax(axis=1) for scores in self.scores], axis=1)

    def losses(self) -> Floats:
        """Cross-entropy in nats, mean over slots, float64 [examples]; NaN for all when a score is not finite."""
        if not all(np.isfinite(scores).all() for scores in self.scores):
            return np.full(len(self.labels), math.nan)
        losses = []
        for slot, scores in enumerate(self.scores):
            shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
            normaliser = np.log(np.exp(shifted).sum(axis=1))
            losses.append(normaliser - shifted[np.arange(len(scores)), self.labels[:, slot]])
        mean: Floats = np.mean(losses, axis=0)
        return mean

    def loss(self) -> float:
        """Mean of ``losses``."""
        return float(self.losses().mean())

    def confusion(self, slot: int) -> NDArray[np.int64]:
        """Counts, rows are labels and columns predictions, int64 [classes, classes]."""
        classes = self.scores[slot].shape[1]
        cells = self.labels[:, slot] * classes + self.classes[:, slot]
        return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)

    def detection(self, positive: int) -> tuple[Floats, NDArray[np.bool_]]:
        """The first slot of two classes as a detector.

        Args:
            positive: number of the class that is to be detected.

        Returns:
            Scores, the log odds of the positive class, float64 [examples], and which examples are positive, bool
            [examples].
        """
        scores = self.scores[0].astype(np.float64)
        with np.errstate(invalid="ignore"):
            return scores[:, positive] - scores[:, 1 - positive], self.labels[:, 0] == positive


class Figures:
    """Every figure that is reported, where each example counts as often as a weight says.

    Args:
        predictions: of a split.
        positive: number of the positive class, of one slot with two classes; adds ``f1`` and ``eer``.
        temperatures: by which the scores of each slot are divided; adds ``ece`` and ``ece_uncalibrated``.
    """

    def __init__(
        self,
        predictions: Predictions,
        *,
        positive: int | None = None,
        temperatures: Sequence[float] | None = None,
    ) -> None:
        self._positive = positive
        self._labels, self._predicted = predictions.labels, predictions.classes
        self._sizes = [scores.shape[1] for scores in predictions.scores]
        self._right = self._predicted == self._labels
        self._all_right = self._right.all(axis=1).astype(np.float64)
        self._losses = predictions.losses()
        self._detection = None if positive is None else ErrorRates(*predictions.detection(positive))
        # Of each slot, by the name of the figure.
        self._calibration: dict[str, list[CalibrationError]] = {}
        if temperatures is not None:
            plain = [1.0] * len(self._sizes)
            for name, divisors in {"ece": temperatures, "ece_uncalibrated": plain}.items():
                shares = [softmax(scores, by) for scores, by in zip(predictions.scores, divisors, strict=True)]
                self._calibration[name] = [
                    CalibrationError(slot.max(axis=1), self._right[:, place]) for place, slot in enumerate(shares)
                ]

    def __call__(self, weights: Floats | None = None) -> dict[str, float]:
        """``accuracy``, ``macro_f1``, ``weighted_f1``, ``loss``, and what else applies; with several slots
        ``slot_accuracy`` and ``accuracy_slot1`` and so on, the accuracy of each.

        Args:
            weights: how often each example counts, float64 [examples]; once where left out.
        """
        counts = np.ones(len(self._labels)) if weights is None else weights
        total = counts.sum()
        f1 = [self._f1(slot, counts) for slot in range(len(self._sizes))]
        figures = {
            "accuracy": float((self._all_right * counts).sum() / total),
            "macro_f1": float(np.mean([scores[occurs].mean() for scores, occurs, _ in f1])),
            "weighted_f1": float(np.mean([scores @ support / total for scores, _, support in f1])),
            "loss": float((self._losses * counts).sum() / total),
        }
        if len(self._sizes) > 1:
            by_slot = self._right.T @ counts / total
            figures["slot_accuracy"] = float(by_slot.mean())
            figures |= {slot_figure("accuracy", slot): float(share) for slot, share in enumerate(by_slot)}
        if self._positive is not None and self._detection is not None:
            figures["f1"] = float(f1[0][0][self._positive])
            figures["eer"] = self._detection.equal_error_rate(counts)
        for name, errors in self._calibration.items():
            figures[name] = float(np.mean([error(counts) for error in errors]))
        return figures

    def _f1(self, slot: int, counts: Floats) -> tuple[Floats, NDArray[np.bool_], Floats]:
        """F1 of each class, 0 where it does not occur; whether it occurs in labels or predictions; its examples."""
        labels, predicted, size = self._labels[:, slot], self._predicted[:, slot], self._sizes[slot]
        support: Floats = np.bincount(labels, counts, minlength=size).astype(np.float64)
        either = support + np.bincount(predicted, counts, minlength=size)
        right = np.bincount(labels, counts * self._right[:, slot], minlength=size)
        return 2 * right / np.where(either > 0, either, 1), either > 0, support


def measure(predictions: Predictions, positive: int | None = None) -> dict[str, float]:
    """The figures of predictions as they are, without calibration."""
    return Figures(predictions, positive=positive)()
