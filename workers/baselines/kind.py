"""The baselines there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from task_specs.example import Split
from workers.evaluation.metrics import Predictions, measure
from workers.prompting.examples import SplitExamples
from workers.tuning.step.lane import LaneSpec


@dataclass(frozen=True)
class Fitted:
    """Class scores of a baseline.

    Attributes:
        predictions: of the splits valid and test.
        trained: trained numbers.
        settings: what was chosen on validation, and how.
    """

    predictions: Mapping[Split, Predictions]
    trained: int = 0
    settings: Mapping[str, JsonValue] = field(default_factory=dict)


def predictions_of(examples: SplitExamples, scores: Sequence[NDArray[np.float32]]) -> Predictions:
    """Class scores of each slot, float32 [rows, classes], beside the labels of a split."""
    return Predictions([examples.by_example(part) for part in scores], examples.example_labels)


def figures_of(predictions: Predictions, spec: LaneSpec) -> dict[str, float]:
    """Every figure that a lane of the task has too."""
    return measure(predictions, spec.positive_class)


BaselineKind = Literal["majority", "ngrams", "probe"]
"""``majority``: always the most frequent answer; ``ngrams``: logistic regression on unit n-grams; ``probe``: logistic
regression on mean states of the frozen LM."""

NEEDS_LM: frozenset[BaselineKind] = frozenset({"probe"})
BASELINES: tuple[BaselineKind, ...] = get_args(BaselineKind)
