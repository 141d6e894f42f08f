"""The baseline that never listens."""

from __future__ import annotations

from collections import Counter

import numpy as np

from task_specs.example import SPLITS
from workers.baselines.baseline import BaselineTask, Fitted, predictions_of


def majority(task: BaselineTask) -> Fitted:
    """Always the most frequent label of the training split; with several slots the most frequent combination.

    The answer has score 1 and every other class 0, so that figures other than accuracy are defined too.
    """
    splits = task.examples.splits
    [(answer, _)] = Counter(map(tuple, splits["train"].labels.tolist())).most_common(1)
    rows = [np.eye(count, dtype=np.float32)[number] for count, number in zip(task.classes, answer, strict=True)]
    parts = {split: splits[split] for split in SPLITS[1:]}
    return Fitted(
        {split: predictions_of(part, [np.tile(row, (len(part), 1)) for row in rows]) for split, part in parts.items()}
    )
