"""What every baseline is given and gives."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from task_specs.example import Split
from task_specs.metric import METRICS
from workers.evaluation.metrics import Predictions, measure
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.tuning.lane_spec import LaneSpec

if TYPE_CHECKING:
    import torch

    from workers.backbone.sharing import SharedLM
    from workers.precision import Precision


@dataclass(frozen=True)
class BaselineTask:
    """What a baseline is fitted on.

    Attributes:
        spec: slots, metric and seed of the task.
        examples: whose labels are to be told; the training split as few-shot tasks draw it.
        shared: the LM, for a baseline that needs it.
        device: where to compute.
        precision: of the LM's matrix products.
        features: means over time of the tokenizer's continuous features by split, float32 [examples, layers, dim];
            ``None`` where there are none, or they are not needed.
    """

    spec: LaneSpec
    examples: TaskExamples
    shared: SharedLM | None = None
    device: torch.device | str = "cpu"
    precision: Precision = "auto"
    features: Mapping[Split, NDArray[np.float32]] | None = None

    @property
    def classes(self) -> list[int]:
        """Number of classes of each slot."""
        return [len(slot.labels) for slot in self.spec.slots]

    def score(self, valid: Predictions) -> tuple[float, float]:
        """By what settings are chosen, as the prompt of a lane is: the task's metric on the validation split, then the
        loss; higher is better."""
        figures = figures_of(valid, self.spec)
        return METRICS[self.spec.metric].score(figures[self.spec.metric]), -figures["loss"]


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


@dataclass(frozen=True)
class Baseline:
    """A kind of baseline.

    Attributes:
        title: how people see it.
        module: holds a function of the same name, and is imported when that is called: the table of baselines is read
            by commands that compute none.
        needs_lm: whether it reads the frozen LM.
        needs_features: whether it reads the tokenizer's continuous features.
        gains_from_gpu: whether it takes one of the job's GPUs, where actors have any.
    """

    title: str
    module: str
    needs_lm: bool = False
    needs_features: bool = False
    gains_from_gpu: bool = False

    @property
    def computes_with_torch(self) -> bool:
        """Whether it takes as many threads as torch is given."""
        return self.needs_lm or self.gains_from_gpu

    def fit(self, task: BaselineTask) -> Fitted:
        """The class scores of a task; an ``ImportError`` means that scikit-learn is not installed."""
        function: Callable[[BaselineTask], Fitted] = pkgutil.resolve_name(
            f"{self.module}:{self.module.rpartition('.')[2]}"
        )
        return function(task)


def predictions_of(examples: SplitExamples, scores: Sequence[NDArray[np.float32]]) -> Predictions:
    """Class scores of each slot, float32 [rows, classes], beside the labels of a split."""
    return Predictions([examples.by_example(part) for part in scores], examples.example_labels)


def figures_of(predictions: Predictions, spec: LaneSpec) -> dict[str, float]:
    """Every figure that a lane of the task has too."""
    return measure(predictions, spec.positive_class)
