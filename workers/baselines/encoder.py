"""Logistic regression on the tokenizer's own continuous features: what is heard before anything becomes a unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from infra.errors import DatasetError
from task_specs.example import SPLITS, Split
from workers.baselines.baseline import BaselineTask, Fitted
from workers.baselines.logistic import STRENGTHS, logistic, standardised
from workers.baselines.order import FeatureKeys
from workers.prompting.examples import SplitExamples
from workers.speech.feature_cache import FeatureCache


def encoder(task: BaselineTask) -> Fitted:
    """Means over time of one layer's features, each with mean 0 and variance 1 over the training split, then logistic
    regression; the layer is chosen on validation.

    Raises:
        DatasetError: the tokenizer offers no features of the examples.
    """
    if task.features is None:
        raise DatasetError(
            f"{task.spec.task}: there are no continuous features of units that were computed elsewhere, or by a "
            "tokenizer without any; leave encoder out of the job's baselines"
        )
    rows = {split: _of_rows(task.examples.splits[split], task.features[split]) for split in SPLITS}
    layers = rows["train"].shape[1]
    best: tuple[tuple[float, float], int, Fitted] | None = None
    for layer in range(layers):
        of_layer = {split: part[:, layer] for split, part in rows.items()}
        fitted = logistic(standardised(of_layer), task, strengths=STRENGTHS)
        score = task.score(fitted.predictions["valid"])
        if best is None or score > best[0]:
            best = score, layer, fitted
    assert best is not None  # noqa: S101
    _, chosen, fitted = best
    return replace(fitted, settings={**fitted.settings, "layer": chosen + 1, "layers": layers})


def read_features(keys: FeatureKeys, task: str) -> dict[Split, NDArray[np.float32]]:
    """Features of the examples of each split, float32 [examples, layers, dim].

    Raises:
        DatasetError: those of a recording are missing.
        StorageError: the cache cannot be read.
    """
    found = FeatureCache(keys.root, keys.tokenizer).lookup({key for part in keys.splits.values() for key in part})
    if missing := {key for part in keys.splits.values() for key in part} - found.keys():
        raise DatasetError(
            f"{task}: the features of {len(missing)} recordings are missing, as the log of the job says; "
            "run it again with --retry-failed, or leave encoder out of its baselines"
        )
    return {split: np.stack([found[key] for key in part]) for split, part in keys.splits.items()}


def _of_rows(examples: SplitExamples, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of each row: windows have those of their recording."""
    return features if examples.windows is None else features[examples.windows]
