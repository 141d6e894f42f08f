"""Logistic regression, one model a slot, regularised as the validation split likes it best."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from task_specs.example import SPLITS, Split
from workers.baselines.baseline import BaselineTask, Fitted, predictions_of
from workers.evaluation.metrics import Predictions

MAX_ITERATIONS = 300
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""For standardised features."""
UNSEEN = 30.0
"""How far below a row's lowest score a class stands that no usable training example has."""

Features = Any
"""[examples, features], a float32 array or a scipy sparse matrix."""


def standardised(features: Mapping[Split, NDArray[np.float32]]) -> dict[Split, NDArray[np.float32]]:
    """Features of each split, float32 [rows, features], each with mean 0 and variance 1 over the training split."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features["train"])
    return {split: scaler.transform(part) for split, part in features.items()}


def logistic(features: Mapping[Split, Features], task: BaselineTask, *, strengths: Sequence[float]) -> Fitted:
    """Fit with every strength and keep the best by the task's metric on the validation split, then by the loss.

    Args:
        features: of the rows of each split.
        task: whose labels are to be told.
        strengths: inverse regularisation strengths (scikit-learn's ``C``) to choose from, rising.
    """
    import sklearn

    splits = task.examples.splits
    slots = [_Slot(task, features["train"], index) for index in range(len(task.classes))]
    best: tuple[tuple[float, float], float, dict[Split, Predictions], bool] | None = None
    for strength in strengths:
        converged = [slot.fit(strength) for slot in slots]
        predictions = {
            split: predictions_of(splits[split], [slot.scores(features[split]) for slot in slots])
            for split in SPLITS[1:]
        }
        score = task.score(predictions["valid"])
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

    def __init__(self, task: BaselineTask, train: Features, slot: int) -> None:
        from sklearn.linear_model import LogisticRegression

        self._train, self._labels = train, task.examples.splits["train"].labels[:, slot]
        self._classes = task.classes[slot]
        self._present: NDArray[np.int64] = np.unique(self._labels)
        self._model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True, random_state=task.spec.seed)

    @property
    def trained(self) -> int:
        """Trained numbers."""
        return 0 if len(self._present) == 1 else int(self._model.coef_.size + self._model.intercept_.size)

    def fit(self, strength: float) -> bool:
        """Returns whether it converged; if not, its figures are those of the last iteration, and say so."""
        from sklearn.exceptions import ConvergenceWarning

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
