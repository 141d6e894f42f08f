"""How well class scores meet the labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from task_specs.metric import METRICS, slot_figure
from workers.evaluation.answers import Answers
from workers.evaluation.calibration import CalibrationError, softmax

__all__ = ["MEASURES", "Figures", "Predictions", "Weighted", "measure"]

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

    def answers(self, positive: int | None, speakers: NDArray[np.int64] | None = None) -> Answers:
        """What the metrics are computed from.

        Args:
            positive: number of the positive class; ``None`` where there is none.
            speakers: number of the speaker of each example, int64 [examples], where the bootstrap draws speakers.
        """
        odds = None if positive is None else self.detection(positive)[0]
        sizes = [scores.shape[1] for scores in self.scores]
        return Answers(self.labels, self.classes, sizes, positive, odds, speakers)


class Figures:
    """Every figure that is reported, where each example counts as often as its weight says.

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
        self._answers = predictions.answers(positive)
        self._losses = predictions.losses()
        slots = len(predictions.scores)
        self._measures = {
            name: MEASURES[name]
            for name, metric in METRICS.items()
            if (positive is not None or not metric.binary) and (slots > 1 or not metric.several_slots)
        }
        # Of each slot, by the name of the figure.
        self._calibration: dict[str, list[CalibrationError]] = {}
        if temperatures is not None:
            right, plain = self._answers.right, [1.0] * slots
            for name, divisors in {"ece": temperatures, "ece_uncalibrated": plain}.items():
                shares = [softmax(scores, by) for scores, by in zip(predictions.scores, divisors, strict=True)]
                self._calibration[name] = [
                    CalibrationError(slot.max(axis=1), right[:, place]) for place, slot in enumerate(shares)
                ]

    def __call__(self, weights: Floats | None = None) -> dict[str, float]:
        """The metrics that apply and ``loss``; with several slots ``accuracy_slot1`` and so on, the accuracy of each;
        and the calibration errors.

        Args:
            weights: how often each example counts, float64 [examples]; once where left out.
        """
        weighted = Weighted(self._answers, np.ones(len(self._losses)) if weights is None else weights)
        figures = {name: measure(weighted) for name, measure in self._measures.items()}
        figures["loss"] = float((self._losses * weighted.counts).sum() / weighted.total)
        if len(self._answers.sizes) > 1:
            shares = enumerate(weighted.slot_accuracies)
            figures |= {slot_figure("accuracy", slot): float(share) for slot, share in shares}
        for name, errors in self._calibration.items():
            figures[name] = float(np.mean([error(weighted.counts) for error in errors]))
        return figures


def measure(predictions: Predictions, positive: int | None = None) -> dict[str, float]:
    """The figures of predictions as they are, without calibration."""
    return Figures(predictions, positive=positive)()


class Weighted:
    """A split in which each example counts as often as its weight says: what metrics are computed from.

    Attributes:
        answers: its labels and predictions.
        counts: weights, float64 [examples].
        total: their sum.
    """

    def __init__(self, answers: Answers, counts: Floats) -> None:
        self.answers, self.counts, self.total = answers, counts, counts.sum()

    @cached_property
    def slot_accuracies(self) -> Floats:
        """Share of right answers of each slot, float64 [slots]."""
        shares: Floats = self.answers.right.T @ self.counts / self.total
        return shares

    @cached_property
    def f1(self) -> list[tuple[Floats, NDArray[np.bool_], Floats]]:
        """Of each slot: F1 of each class, 0 where it does not occur; whether it occurs in labels or predictions; its
        examples."""
        return [self._f1(slot, size) for slot, size in enumerate(self.answers.sizes)]

    def _f1(self, slot: int, size: int) -> tuple[Floats, NDArray[np.bool_], Floats]:
        answers, counts = self.answers, self.counts
        labels, predicted = answers.labels[:, slot], answers.predicted[:, slot]
        support: Floats = np.bincount(labels, counts, minlength=size).astype(np.float64)
        either = support + np.bincount(predicted, counts, minlength=size)
        right = np.bincount(labels, counts * answers.right[:, slot], minlength=size)
        return 2 * right / np.where(either > 0, either, 1), either > 0, support


def accuracy(of: Weighted) -> float:
    """Share of examples with every slot right, which for intents is the sentence accuracy."""
    return float((of.answers.all_right * of.counts).sum() / of.total)


def slot_accuracy(of: Weighted) -> float:
    """Share of right slots."""
    return float(of.slot_accuracies.mean())


def macro_f1(of: Weighted) -> float:
    """F1 of each class, mean over classes."""
    return float(np.mean([scores[occurs].mean() for scores, occurs, _ in of.f1]))


def weighted_f1(of: Weighted) -> float:
    """F1 of each class, mean weighted by how many examples a class has."""
    return float(np.mean([scores @ support / of.total for scores, _, support in of.f1]))


def f1(of: Weighted) -> float:
    """F1 of the positive class alone."""
    return float(of.f1[0][0][of.answers.positive])


def eer(of: Weighted) -> float:
    """Equal error rate."""
    assert of.answers.detection is not None  # noqa: S101
    return of.answers.detection.equal_error_rate(of.counts)


MEASURES: Final[dict[str, Callable[[Weighted], float]]] = {
    measured.__name__: measured for measured in (accuracy, slot_accuracy, macro_f1, weighted_f1, f1, eer)
}
"""How each of ``task_specs.metric.METRICS`` is computed."""
