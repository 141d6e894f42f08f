"""Logistic regression on the tokenizer's own features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.errors import DatasetError
from task_specs.example import SPLITS, Split
from tests.fixtures.tuning import lane_spec, toy_examples
from tests.workers.baselines.test_baselines import order
from workers.baselines.baseline import BaselineTask
from workers.baselines.encoder import encoder, read_features
from workers.baselines.order import FeatureKeys
from workers.baselines.run import run_baseline
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.speech.feature_cache import FeatureCache


def layered(examples: TaskExamples, layers: int = 3, telling: int = 1) -> dict[Split, NDArray[np.float32]]:
    """Features of every example, of which one layer tells the class and the others nothing."""
    rng = np.random.default_rng(0)
    features: dict[Split, NDArray[np.float32]] = {}
    for split, part in examples.splits.items():
        made = rng.normal(size=(part.examples, layers, 4))
        made[:, telling, 0] += 6 * part.example_labels[:, 0]
        features[split] = made.astype(np.float32)
    return features


def test_the_layer_is_chosen_on_validation() -> None:
    examples = toy_examples((3,), rows=60)
    fitted = encoder(BaselineTask(lane_spec(), examples, features=layered(examples)))
    assert (fitted.settings["layer"], fitted.settings["layers"], fitted.settings["features"]) == (2, 3, 4)
    assert float(fitted.predictions["test"].answers(None).all_right.mean()) > 0.9
    assert fitted.trained == (4 + 1) * 3


def test_windows_have_the_features_of_their_recording() -> None:
    examples = toy_examples((2,), rows=30)
    windows = np.repeat(np.arange(15), 2)
    cut = {
        split: SplitExamples(part.units, np.repeat(part.labels[:15], 2, axis=0), windows=windows)
        for split, part in examples.splits.items()
    }
    whole = TaskExamples({split: part.take(np.arange(15)) for split, part in examples.splits.items()})
    features = layered(whole, layers=1, telling=0)
    fitted = encoder(BaselineTask(lane_spec((2,)), TaskExamples(cut), features=features))
    scores = fitted.predictions["test"].scores[0]
    assert scores.shape == (15, 2)
    assert (scores.argmax(axis=1) == whole.splits["test"].labels[:, 0]).all()


def test_units_without_features_say_so() -> None:
    with pytest.raises(DatasetError) as caught:
        encoder(BaselineTask(lane_spec(), toy_examples((3,))))
    assert str(caught.value) == (
        "toy: there are no continuous features of units that were computed elsewhere, or by a tokenizer without any; "
        "leave encoder out of the job's baselines"
    )


def cached(root: Path, features: Mapping[Split, NDArray[np.float32]]) -> FeatureKeys:
    """The features in a cache, in shards that are not those of the splits, and their keys."""
    keys = {split: tuple(f"{split}{row}" for row in range(len(features[split]))) for split in SPLITS}
    entries = [(key, part) for split in SPLITS for key, part in zip(keys[split], features[split], strict=True)]
    cache = FeatureCache(str(root), "f" * 64)
    for place in range(2):
        cache.add(dict(entries[place::2]))
    return FeatureKeys(root=str(root), tokenizer="f" * 64, splits=keys)


def test_features_come_in_the_order_of_the_examples(tmp_path: Path) -> None:
    features = layered(toy_examples((3,)))
    found = read_features(cached(tmp_path, features), "toy")
    for split in SPLITS:
        np.testing.assert_array_equal(found[split], features[split])


def test_a_recording_without_features_is_missed(tmp_path: Path) -> None:
    keys = cached(tmp_path, layered(toy_examples((3,))))
    lacking = keys.model_copy(update={"splits": {**keys.splits, "test": ("gone", *keys.splits["test"])}})
    with pytest.raises(DatasetError, match=r"^toy: the features of 1 recordings are missing, .*--retry-failed"):
        read_features(lacking, "toy")


def test_shots_are_those_of_the_lane(tmp_path: Path) -> None:
    examples = toy_examples((3,), rows=60)
    given = order(tmp_path, "encoder", examples)
    keys = cached(tmp_path / "units", layered(examples))
    few = given.model_copy(update={"features": keys, "spec": given.spec.model_copy(update={"shots": 5})})
    result, _ = run_baseline(few)
    assert result.error is None
    # Features of other training examples would tell nothing.
    assert result.figures["test"]["accuracy"] > 0.7
