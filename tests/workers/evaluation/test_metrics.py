from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score as sklearn_accuracy
from sklearn.metrics import confusion_matrix, f1_score, log_loss

from task_specs.metric import METRICS, Metric
from tests.fixtures.tuning import lane_spec
from workers.evaluation.metrics import MEASURES, Figures, Predictions, Weighted, measure
from workers.tuning.lane_spec import LaneSpec
from workers.tuning.results.outcome import LaneOutcome, best_lane


def _scores(seed: int, rows: int, classes: int) -> NDArray[np.float32]:
    return (4 * np.random.default_rng(seed).standard_normal((rows, classes))).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999), st.integers(1, 30), st.integers(2, 6), st.data())
def test_figures_equal_those_of_scikit_learn(seed: int, rows: int, classes: int, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    labels, scores = np.array(drawn), _scores(seed, rows, classes)
    predictions = Predictions([scores], labels[:, None])
    chosen = scores.argmax(axis=1)
    figures = measure(predictions)
    assert figures["macro_f1"] == pytest.approx(f1_score(labels, chosen, average="macro"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        assert figures["weighted_f1"] == pytest.approx(f1_score(labels, chosen, average="weighted"))
        if classes == 2:
            for positive in (0, 1):
                f1 = f1_score(labels, chosen, pos_label=positive, zero_division=0)
                assert measure(predictions, positive)["f1"] == pytest.approx(f1)
    assert figures["accuracy"] == pytest.approx(sklearn_accuracy(labels, chosen))
    shares = np.exp(scores.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    assert figures["loss"] == pytest.approx(log_loss(labels, shares, labels=range(classes)), rel=1e-6)
    np.testing.assert_array_equal(
        predictions.confusion(0), confusion_matrix(labels, chosen, labels=range(classes)), strict=False
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999), st.lists(st.integers(0, 3), min_size=2, max_size=20).filter(any))
def test_an_example_that_weighs_twice_is_there_twice(seed: int, weights: list[int]) -> None:
    """What the bootstrap rests on."""
    rng = np.random.default_rng(seed)
    rows = len(weights)
    labels = rng.integers(0, 2, (rows, 1))
    scores = [_scores(seed, rows, 2).round()]
    again = np.repeat(np.arange(rows), weights)
    repeated = Predictions([scores[0][again]], labels[again])
    weighted = Figures(Predictions(scores, labels), positive=1, temperatures=[2.0])(np.array(weights, float))
    expected = Figures(repeated, positive=1, temperatures=[2.0])()
    assert weighted == pytest.approx(expected, nan_ok=True)


def test_an_example_counts_when_every_slot_is_right() -> None:
    scores = [
        np.array([[2, 1], [1, 2], [2, 1], [1, 2]], np.float32),
        np.array([[0, 0, 9], [0, 9, 0], [9, 0, 0], [9, 0, 0]], np.float32),
    ]
    labels = np.array([[0, 2], [1, 0], [1, 0], [0, 0]])
    figures = measure(Predictions(scores, labels))
    assert figures["accuracy"] == 0.25
    assert (figures["accuracy_slot1"], figures["accuracy_slot2"]) == (0.5, 0.75)
    assert figures["slot_accuracy"] == 0.625
    per_slot = [f1_score(labels[:, slot], scores[slot].argmax(axis=1), average="macro") for slot in (0, 1)]
    assert figures["macro_f1"] == pytest.approx(np.mean(per_slot))
    one = measure(Predictions(scores[:1], labels[:, :1]))
    assert set(one) == {"accuracy", "macro_f1", "weighted_f1", "loss"}


def test_large_scores_do_not_overflow() -> None:
    scores = np.array([[3e38, 0.0], [-3e38, 3e38]], np.float32)
    assert Predictions([scores], np.array([[0], [1]])).loss() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_give_a_loss_that_is_not(bad: float) -> None:
    """And nothing is said on the way: it is how a lane is found to diverge."""
    scores = np.full((2, 2), bad, np.float32)
    assert np.isnan(measure(Predictions([scores], np.array([[0], [1]])), positive=0)["loss"])


def predictions_of(metric: Metric, *, right: bool) -> tuple[Predictions, int | None]:
    """Of a task for which the metric is defined, all right or all wrong."""
    slots = 2 if metric.several_slots else 1
    labels = np.repeat(np.array([0, 1, 0, 1])[:, None], slots, axis=1)
    scores = np.eye(2, dtype=np.float32)[labels[:, 0] if right else 1 - labels[:, 0]]
    return Predictions([scores] * slots, labels), 1 if metric.binary else None


def make_outcome(spec: LaneSpec, figures: dict[str, dict[str, float]]) -> LaneOutcome:
    """Of a lane that ended well."""
    ended = {"stopped": "steps", "steps": 9, "best_step": 9, "trained": 1, "special_rows": 0, "seconds": 1.0}
    fields = {"key": "k", "lm_fingerprint": "a" * 64, "mapped_units": None, "figures": figures}
    return LaneOutcome.model_validate(fields | ended | {"spec": spec})


def test_every_metric_is_computed_and_no_other() -> None:
    assert MEASURES.keys() == METRICS.keys()


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_which_way_is_better(name: str) -> None:
    metric = METRICS[name]
    best, worst = (measure(*predictions_of(metric, right=right))[name] for right in (True, False))
    assert 0 <= min(best, worst) <= max(best, worst) <= 1
    assert metric.score(best) > metric.score(worst)
    assert (best > worst) == metric.higher_is_better


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_there_only_where_it_is_defined(name: str) -> None:
    metric = METRICS[name]
    three = Predictions([_scores(1, 9, 3)], np.arange(9)[:, None] % 3)
    assert (name in measure(three)) == (not metric.binary and not metric.several_slots)


def test_another_metric_is_a_function_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def error_rate(of: Weighted) -> float:
        return 1 - MEASURES["accuracy"](of)

    monkeypatch.setitem(METRICS, "error_rate", Metric(higher_is_better=False))
    monkeypatch.setitem(MEASURES, "error_rate", error_rate)
    spec = lane_spec(metric="error_rate")
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
    lanes = []
    for seed, labels in enumerate(([0, 1, 2, 0], [0, 1, 2, 2], [1, 1, 1, 1])):
        found = measure(Predictions([np.eye(3, dtype=np.float32)[labels]], np.array([[0], [1], [2], [2]])))
        assert found["error_rate"] == 1 - found["accuracy"]
        lane = make_outcome(spec.model_copy(update={"seed": seed}), {"valid": found, "test": found})
        lanes.append(lane)
    assert best_lane(lanes) == lanes[1]
