from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from task_specs.example import SPLITS, Split
from tests.fixtures.tuning import lane_spec, toy_examples
from workers.evaluation.bootstrap import interval, resampled
from workers.evaluation.metrics import Predictions
from workers.tuning.results.final_metrics import final_metrics


def _share(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draws of a mean over 40 groups of 5."""
    groups = np.repeat(np.arange(40), 5)
    return resampled(lambda weights: {"mean": float(right @ weights / weights.sum())}, groups)["mean"]


def test_the_interval_is_that_of_a_mean() -> None:
    right = (np.arange(400) % 4 > 0).astype(float)
    drawn = resampled(lambda weights: {"mean": float(right @ weights / weights.sum())}, np.arange(400))["mean"]
    error = np.sqrt(0.75 * 0.25 / 400)
    assert interval(drawn) == pytest.approx((0.75 - 1.96 * error, 0.75 + 1.96 * error), abs=0.01)


def test_those_of_one_speaker_are_drawn_together() -> None:
    """Where speakers are all right or all wrong, 200 utterances are worth 40."""
    alike = _share(np.repeat(np.arange(40) % 2, 5).astype(float))
    mixed = _share(np.tile([1.0, 0, 1, 0, 1], 40))
    assert np.std(alike) == pytest.approx(np.sqrt(0.25 / 40), rel=0.1)
    assert np.std(mixed) == pytest.approx(0, abs=1e-12)


def test_draws_are_the_same_whatever_is_measured() -> None:
    groups = np.arange(30)
    first, second = (resampled(lambda weights: {"first": weights[0]}, groups)["first"] for _ in range(2))
    assert np.array_equal(first, second)
    assert first.mean() == pytest.approx(1, abs=0.1)


def test_a_draw_without_a_figure_is_left_out() -> None:
    assert interval(np.array([np.nan, 0.5, 0.5])) == (0.5, 0.5)


def test_final_metrics_hold_intervals_of_test_and_temperatures_of_valid() -> None:
    examples = toy_examples((2,), rows=60)
    rng = np.random.default_rng(0)
    predictions: dict[Split, Predictions] = {}
    for split in SPLITS[1:]:
        labels = examples.splits[split].labels
        noise = rng.normal(size=(60, 2)).astype(np.float32)
        predictions[split] = Predictions([(np.eye(2, dtype=np.float32)[labels[:, 0]] + noise) * 8], labels)
    spec = lane_spec((2,), metric="eer", positive="class1")
    test = examples.splits["test"]
    final = final_metrics(spec, predictions, test.speakers)
    assert final.temperatures[0] > 3
    assert final.metrics["valid"]["ece"] < final.metrics["valid"]["ece_uncalibrated"]
    assert set(final.intervals) == set(final.metrics["test"])
    for name, (low, high) in final.intervals.items():
        if not name.startswith("ece"):  # whose bias grows with each draw
            assert low < final.metrics["test"][name] < high, name
    assert interval(np.array(final.draws)) == pytest.approx(final.intervals["eer"], abs=1e-5)
    low, high = final_metrics(spec, predictions, np.zeros(60, np.int64)).intervals["accuracy"]
    assert low == high
