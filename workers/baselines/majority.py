"""The baseline that never listens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from task_specs.example import SPLITS
from workers.baselines.answer import Answer
from workers.prompting.examples import TaskExamples
from workers.prompting.metrics import Predictions


def majority(examples: TaskExamples, classes: Sequence[int]) -> Answer:
    """Always the most frequent label of the training split; with several slots the most frequent combination.

    The answer has score 1 and every other class 0, so that figures other than accuracy are defined too.

    Args:
        examples: of the task.
        classes: number of classes of each slot.
    """
    [(answer, _)] = Counter(map(tuple, examples.splits["train"].labels.tolist())).most_common(1)
    rows = [np.eye(count, dtype=np.float32)[number] for count, number in zip(classes, answer, strict=True)]
    return Answer(
        {
            split: Predictions([np.tile(row, (len(examples.splits[split]), 1)) for row in rows], part.labels)
            for split in SPLITS[1:]
            for part in [examples.splits[split]]
        }
    )
