from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from infra.errors import TaskSpecError
from tests.fixtures.tuning import UNIT_TOKENS, lane_spec, make_lane, tiny_lm, toy_examples
from workers.tuning.step.lane import Lane
from workers.tuning.step.running_lane import RunningLane

LM = tiny_lm()


def _metrics(accuracy: float, loss: float = 1.0) -> dict[str, float]:
    return {"accuracy": accuracy, "macro_f1": 1 - accuracy, "loss": loss}


def _running(**settings: Any) -> RunningLane:
    lane = make_lane(LM, **settings)
    return RunningLane.of(lane, lane.initial_state())


def _judge(lane: RunningLane, metrics: list[dict[str, float]]) -> list[bool]:
    """Hand the lane one evaluation after the other, three steps apart, until it stops."""
    verdicts = []
    for one in metrics:
        lane.progress.step += 3
        verdicts.append(lane.judge(one))
        if not lane.active:
            break
    return verdicts


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [("linear", 0.5, 0.0), ("cosine", 0.5, 0.0), ("constant", 1.0, 1.0)],
)
def test_learning_rate(schedule: str, middle: float, end: float) -> None:
    lane = make_lane(LM, schedule=schedule, learning_rate=0.2, warmup_steps=10, steps=110)
    assert [lane.learning_rate(step) for step in (0, 4, 9, 10)] == pytest.approx([0.02, 0.1, 0.2, 0.2])
    assert lane.learning_rate(60) == pytest.approx(0.2 * middle)
    assert lane.learning_rate(110) == pytest.approx(0.2 * end)


def test_cosine_is_a_cosine() -> None:
    lane = make_lane(LM, schedule="cosine", learning_rate=1.0, warmup_steps=0, steps=8)
    assert [lane.learning_rate(step) for step in range(8)] == pytest.approx(
        [(1 + math.cos(math.pi * s / 8)) / 2 for s in range(8)]
    )


def test_the_best_is_kept_by_metric_and_ties_by_loss() -> None:
    lane = _running(steps=100)
    assert _judge(lane, [_metrics(0.5), _metrics(0.5), _metrics(0.5, 0.9), _metrics(0.4, 0.1)]) == [
        True,
        False,
        True,
        False,
    ]
    assert (lane.progress.best_step, lane.progress.evaluations_since_best) == (9, 1)


def test_selection_by_another_metric_or_by_loss() -> None:
    history = [_metrics(0.9, 0.5), _metrics(0.8, 0.6), _metrics(0.95, 0.4)]
    assert _judge(_running(steps=100, metric="macro_f1"), history) == [True, True, False]
    assert _judge(_running(steps=100, select_on="loss"), history) == [True, False, True]


def test_a_lower_error_rate_is_better_and_one_that_is_undefined_the_worst() -> None:
    lane = _running(classes=(2,), steps=100, metric="eer")
    rates = [math.nan, 0.4, 0.5, 0.3, math.nan]
    assert [lane.judge({"eer": rate, "loss": 1.0}) for rate in rates] == [True, True, False, True, False]


def test_patience_counts_evaluations_without_improvement() -> None:
    lane = _running(steps=100, patience=2)
    verdicts = _judge(lane, [_metrics(a) for a in (0.5, 0.4, 0.6, 0.6, 0.5, 0.9)])
    assert verdicts == [True, False, True, False, False]
    assert (lane.progress.stopped, lane.progress.best_step) == ("patience", 9)


def test_the_last_step_stops() -> None:
    lane = _running(steps=6, patience=1)
    assert _judge(lane, [_metrics(0.5), _metrics(0.6), _metrics(0.7)]) == [True, True]
    assert lane.progress.stopped == "steps"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops(loss: float) -> None:
    lane = _running(steps=100)
    assert _judge(lane, [_metrics(0.5), _metrics(0.9, loss)]) == [True, False]
    assert (lane.progress.stopped, lane.progress.best_step) == ("diverged", 3)


def test_evaluations_fall_due() -> None:
    def due(**recipe: Any) -> list[int]:
        lane = _running(**recipe)
        steps = []
        for step in range(1, lane.lane.spec.recipe.steps + 1):
            lane.progress.step = step
            steps += [step] if lane.evaluation_due else []
        return steps

    assert due(steps=8, evaluate_every=3) == [3, 6, 8]
    assert due(steps=60, evaluate_every=None) == list(range(3, 61, 3))
    assert due(steps=5, evaluate_every=None) == [1, 2, 3, 4, 5]
    # 24 rows in batches of 5 are five batches.
    assert due(name="paper", steps=12, batch_size=5, evaluate_every=None) == [5, 10, 12]


def test_selection_is_a_seeded_draw() -> None:
    examples = toy_examples(rows=50)
    valid = examples.splits["valid"]
    lanes = [make_lane(LM, examples=examples, seed=seed, validation_examples=10) for seed in (0, 0, 1)]
    chosen = [lane.selection for lane in lanes]
    assert [len(part) for part in chosen] == [10, 10, 10]
    assert np.array_equal(chosen[0].units.flat, chosen[1].units.flat)
    assert not np.array_equal(chosen[0].units.flat, chosen[2].units.flat)
    pairs = [(valid.units[row].tolist(), valid.labels[row].tolist()) for row in range(50)]
    assert all((chosen[0].units[row].tolist(), chosen[0].labels[row].tolist()) in pairs for row in range(10))
    assert make_lane(LM, examples=examples, validation_examples=None).selection is valid


def test_the_seed_decides_start_and_order() -> None:
    first, again, other = make_lane(LM), make_lane(LM), make_lane(LM, seed=1)
    assert torch.equal(first.initial_state().values, again.initial_state().values)
    assert not torch.equal(first.initial_state().values, other.initial_state().values)
    assert np.array_equal(first.batches[3], again.batches[3])
    assert not all(np.array_equal(first.batches[index], other.batches[index]) for index in range(6))


def test_trained_numbers_of_each_recipe() -> None:
    short, prefix, separators, vocabulary = 2 * 2 * 3 * 16, 2 * 2 * 5 * 16, 2 * 16, 24
    classes = (3, 2)
    queries, features = 2 * 16, 16
    assert make_lane(LM, classes).shape.size == short + separators + queries + 2 + (vocabulary + features) * 5
    assert make_lane(LM, classes, read="mean").shape.size == short + separators + 2 + (vocabulary + features) * 5
    assert make_lane(LM, classes, read="separator").shape.size == short + separators + vocabulary * 5
    assert make_lane(LM, classes, verbalizer="random").shape.size == short + separators
    assert make_lane(LM, classes, name="paper").shape.size == prefix + separators + vocabulary * (5 + 2 * 4)
    assert make_lane(LM, classes, name="paper", verbalizer="frequency").shape.size == prefix + separators


def test_fixed_verbalizers_map_within_the_dictionary() -> None:
    tokens = UNIT_TOKENS[::-1].copy()
    for verbalizer in ("frequency", "random"):
        spec = lane_spec((4, 3), verbalizer=verbalizer)
        lane = Lane(spec, examples=toy_examples((4, 3)), lm=LM, unit_tokens=tokens)
        assert lane.mapped_units is not None
        assert lane.class_tokens is not None
        assert [len(set(units.tolist())) for units in lane.mapped_units] == [4, 3]
        for units, class_tokens in zip(lane.mapped_units, lane.class_tokens, strict=True):
            assert class_tokens.tolist() == [int(tokens[unit]) for unit in units]


def test_the_paper_feeds_the_rank_of_the_label_or_its_unit() -> None:
    examples = toy_examples((4,), rows=23)  # the last class is the rarest
    train = examples.splits["train"].labels[:, 0].tolist()
    ranked = sorted(range(4), key=lambda label: (-train.count(label), train.index(label)))
    lane = make_lane(LM, (4,), examples=examples, name="paper")
    assert lane.fed_tokens is not None
    assert lane.fed_tokens[ranked].tolist() == [4, 5, 6, 7]
    mapped = make_lane(LM, (4,), examples=examples, name="paper", verbalizer="random")
    assert mapped.fed_tokens is not None
    assert mapped.mapped_units is not None
    assert mapped.fed_tokens.tolist() == (mapped.mapped_units[0] + 4).tolist()
    assert make_lane(LM).fed_tokens is None


def test_more_classes_than_units_are_refused() -> None:
    with pytest.raises(TaskSpecError, match="25 classes and the backbone 20 units"):
        make_lane(LM, (25,), examples=toy_examples((3,)), verbalizer="frequency")
