"""How well class scores meet the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MetricName = Literal["accuracy", "macro_f1"]


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

    def loss(self) -> float:
        """Cross-entropy in nats, mean over examples and slots; NaN when a score is not finite."""
        if not all(np.isfinite(scores).all() for scores in self.scores):
            return math.nan
        losses = []
        for slot, scores in enumerate(self.scores):
            shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
            normaliser = np.log(np.exp(shifted).sum(axis=1))
            losses.append(float((normaliser - shifted[np.arange(len(scores)), self.labels[:, slot]]).mean()))
        return float(np.mean(losses))

    def confusion(self, slot: int) -> NDArray[np.int64]:
        """Counts, rows are labels and columns predictions, int64 [classes, classes]."""
        classes = self.scores[slot].shape[1]
        cells = self.labels[:, slot] * classes + self.classes[:, slot]
        return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def accuracy(predictions: Predictions) -> float:
    """Share of examples with every slot right."""
    return float((predictions.classes == predictions.labels).all(axis=1).mean())


def macro_f1(predictions: Predictions) -> float:
    """F1 of each class that occurs in labels or predictions, mean over classes, then over slots."""
    slots = []
    for slot in range(len(predictions.scores)):
        table = predictions.confusion(slot)
        right = np.diag(table)
        either = table.sum(axis=0) + table.sum(axis=1)
        slots.append(float((2 * right[either > 0] / either[either > 0]).mean()))
    return float(np.mean(slots))


def measure(predictions: Predictions, slots: Sequence[str]) -> dict[str, float]:
    """Every figure that is reported: ``accuracy``, ``macro_f1``, ``loss``, and per slot where there are several."""
    figures = {
        "accuracy": accuracy(predictions),
        "macro_f1": macro_f1(predictions),
        "loss": predictions.loss(),
    }
    if len(slots) > 1:
        right = predictions.classes == predictions.labels
        figures |= {f"accuracy_{name}": float(right[:, slot].mean()) for slot, name in enumerate(slots)}
    return figures
