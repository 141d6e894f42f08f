"""Confusion counts without the zeros, for thousands of classes as for two."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.metrics import Predictions

Cells = list[tuple[int, int, int]]
"""Label, prediction and how often, in the order of labels, then predictions."""


def confusion_cells(predictions: Predictions, slot: int) -> Cells:
    """How often each label of a slot was taken for each class."""
    pairs = np.stack([predictions.labels[:, slot], predictions.classes[:, slot]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return [(int(label), int(predicted), int(count)) for (label, predicted), count in zip(found, counts, strict=True)]


def confusion_table(parts: Iterable[Cells], classes: int) -> NDArray[np.int64]:
    """The sum of several counts, rows are labels and columns predictions, int64 [classes, classes]."""
    table = np.zeros((classes, classes), dtype=np.int64)
    for cells in parts:
        for label, predicted, count in cells:
            table[label, predicted] += count
    return table
