"""Logistic regression, one model a slot, regularised as the validation split likes it best."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from task_specs.example import SPLITS, Split
from task_specs.metric import METRICS
from workers.baselines.kind import Fitted, figures_of, predictions_of
from workers.evaluation.metrics import Predictions
from workers.prompting.examples import TaskExamples
from workers.tuning.step.lane import LaneSpec

MAX_ITERATIONS = 300
UNSEEN = 30.0
"""How far below a row's lowest score a class stands that no usable training example has."""

Features = Any
"""[examples, features], a float32 array or a scipy sparse matrix."""


def logistic(
    features: Mapping[Split, Features], examples: TaskExamples, spec: LaneSpec, *, strengths: Sequence[float]
) -> Fitted:
    """Fit with every strength and keep the best by the task's metric on the validation split, then by the loss: as the
    prompt of a lane is chosen.

    Args:
        features: of each split.
        examples: whose labels are to be told.
        spec: slots, metric and seed of the task.
        strengths: inverse regularisation strengths (scikit-learn's ``C``) to choose from, rising.
    """
    slots = [_Slot(examples, features["train"], index, spec) for index in range(len(spec.slots))]
    best: tuple[tuple[float, float], float, dict[Split, Predictions], bool] | None = None
    for strength in strengths:
        converged = [slot.fit(strength) for slot in slots]
        predictions = {
            split: predictions_of(examples.splits[split], [slot.scores(features[split]) for slot in slots])
            for split in SPLITS[1:]
        }
        figures = figures_of(predictions["valid"], spec)
        score = (METRICS[spec.metric].score(figures[spec.metric]), -figures["loss"])
        if best is None or score > best[0]:
            best = score, strength, predictions, all(converged)
    assert best is not None  # noqa: S101
    _, chosen, predictions, whole = best
    return Fitted(
        predictions,
        trained=sum(slot.trained for slot in slots),
        settings={
            "C": chosen,
            "C_tried": list(strengths),
            "features": int(features["train"].shape[1]),
            "converged": whole,
            "scikit_learn": sklearn.__version__,
        },
    )


class _Slot:
    """The model of one slot; fitted again, it begins where it was."""

    def __init__(self, examples: TaskExamples, train: Features, slot: int, spec: LaneSpec) -> None:
        self._train, self._labels = train, examples.splits["train"].labels[:, slot]
        self._classes = len(spec.slots[slot].labels)
        self._present: NDArray[np.int64] = np.unique(self._labels)
        self._model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True, random_state=spec.seed)

    @property
    def trained(self) -> int:
        """Trained numbers."""
        return 0 if len(self._present) == 1 else int(self._model.coef_.size + self._model.intercept_.size)

    def fit(self, strength: float) -> bool:
        """Returns whether it converged; if not, its figures are those of the last iteration, and say so."""
        if len(self._present) == 1:
            return True
        self._model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(self._train, self._labels)
        return bool((self._model.n_iter_ < MAX_ITERATIONS).all())

    def scores(self, features: Features) -> NDArray[np.float32]:
        """Logits of all classes, float32 [examples, classes]."""
        if len(self._present) == 1:
            present = np.zeros((features.shape[0], 1), dtype=np.float32)
        else:
            present = self._model.decision_function(features)
            if present.ndim == 1:
                present = np.stack([np.zeros_like(present), present], axis=1)
        lowest = present.min(axis=1, keepdims=True) - UNSEEN
        scores = np.repeat(lowest, self._classes, axis=1).astype(np.float32)
        scores[:, self._present] = present
        return scores
