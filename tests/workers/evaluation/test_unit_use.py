"""Shapley values against their definition, and what is summed up, stored and drawn of them."""

from __future__ import annotations

import math
import struct
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import object_storage
from infra.errors import StorageError
from tests.fixtures.orders import lane_outcome
from tests.fixtures.tuning import UNIT_TOKENS, UNITS, lane_spec, make_lane, tiny_lm, toy_examples
from workers.evaluation.figures import MOST_CLASSES, unit_use_png
from workers.evaluation.unit_use import Floats, UnitUse, mean_use, unit_use
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.tuning.results.lane_results import lane_unit_use
from workers.tuning.results.outcome import write_outcome
from workers.tuning.results.unit_agreement import unit_agreement
from workers.tuning.results.unit_use_file import UNIT_USE_FILE, LaneUnitUse, read_unit_use, unit_use_bytes
from workers.tuning.step.gang import Gang

EXAMPLES, CLASSES, OUTPUTS = 6, 3, 5


def by_definition(score: Floats, logits: Floats, backgrounds: Floats) -> Floats:
    """Shapley values of one class and example, float64 [outputs], from the worth of every coalition: the mean score
    over the background rows when outputs outside the coalition are theirs."""
    players = range(len(logits))

    def worth(coalition: tuple[int, ...]) -> float:
        rows = backgrounds.copy()
        rows[:, list(coalition)] = logits[list(coalition)]
        return float((rows @ score).mean())

    values = np.zeros(len(logits))
    for player in players:
        others = [other for other in players if other != player]
        for size in range(len(others) + 1):
            share = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(logits))
            for coalition in combinations(others, size):
                values[player] += share * (worth((*coalition, player)) - worth(coalition))
    return values


def shapley_values(logits: Floats, matrix: Floats, background: Floats) -> Floats:
    """The closed form of each value, float64 [examples, classes, outputs]."""
    values: Floats = matrix[None] * (logits - background)[:, None]
    return values


def drawn(seed: int) -> tuple[Floats, Floats, Floats]:
    """Logits, verbalizer, and logits of 4 training examples."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(EXAMPLES, OUTPUTS)), rng.normal(size=(CLASSES, OUTPUTS)), rng.normal(size=(4, OUTPUTS)) * 3


@given(st.integers(0, 2**16))
def test_the_closed_form_is_the_definition(seed: int) -> None:
    logits, matrix, training = drawn(seed)
    values = shapley_values(logits, matrix, training.mean(axis=0))
    for example in range(2):
        for number in range(CLASSES):
            expected = by_definition(matrix[number], logits[example], training)
            np.testing.assert_allclose(values[example, number], expected, atol=1e-9)


@given(st.integers(0, 2**16))
def test_values_add_up_to_the_score_less_that_of_the_background(seed: int) -> None:
    logits, matrix, training = drawn(seed)
    background = training.mean(axis=0)
    values = shapley_values(logits, matrix, background)
    np.testing.assert_allclose(values.sum(axis=2), (logits - background) @ matrix.T, atol=1e-9)


@given(st.integers(0, 2**16))
def test_sums_are_those_of_all_values(seed: int) -> None:
    """Class 2 has no example."""
    logits, matrix, training = drawn(seed)
    labels = np.array([0, 1, 1, 0, 0, 1])
    values = shapley_values(logits, matrix, training.mean(axis=0))
    use = unit_use(logits, labels, matrix, training.mean(axis=0))
    np.testing.assert_allclose(use.importance, np.abs(values).mean(axis=0), atol=1e-12)
    for number in range(2):
        np.testing.assert_allclose(use.own[number], values[labels == number, number].mean(axis=0), atol=1e-12)
    assert not use.own[2].any()


def use_of(importance: list[list[float]]) -> UnitUse:
    array = np.array(importance)
    return UnitUse(array, np.zeros_like(array))


def test_seeds_that_use_the_same_units_agree_and_others_do_not() -> None:
    one = use_of([[float(unit) for unit in range(40)]])
    reverse = use_of([[float(-unit) for unit in range(40)]])
    same = unit_agreement([one, one, one])
    assert same is not None
    assert same.spearman == pytest.approx(1)
    assert (same.overlap, same.seeds, same.top) == (1, 3, 10)
    assert same.overlap_by_chance == 0.25
    other = unit_agreement([one, reverse])
    assert other is not None
    assert other.spearman == pytest.approx(-1)
    assert other.overlap == 0
    mixed = unit_agreement([one, one, reverse])
    assert mixed is not None
    assert mixed.spearman == pytest.approx(-1 / 3)
    assert mixed.overlap == pytest.approx(1 / 3)


def test_agreement_by_chance_is_none() -> None:
    rng = np.random.default_rng(0)
    found = unit_agreement([UnitUse(rng.random((50, 100)), np.zeros((50, 100))) for _ in range(4)])
    assert found is not None
    assert abs(found.spearman) < 0.02
    assert found.overlap == pytest.approx(found.overlap_by_chance, abs=0.02)


def test_there_is_no_agreement_of_one_seed_or_of_a_verbalizer_of_zeros() -> None:
    assert unit_agreement([use_of([[1.0, 2.0]])]) is None
    assert unit_agreement([use_of([[0.0, 0.0]])] * 2) is None
    found = unit_agreement([use_of([[0.0, 0.0], [1.0, 2.0]])] * 2)
    assert found is not None
    assert found.spearman == pytest.approx(1)


def test_means_and_tops() -> None:
    mean = mean_use([use_of([[1.0, 5.0, 3.0]]), use_of([[3.0, 1.0, 3.0]])])
    assert mean.importance.tolist() == [[2, 3, 3]]
    assert mean.top(2).tolist() == [[1, 2]]
    assert mean.top(9).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("settings", [{"read": "separator"}, {"name": "paper", "dropout": 0.0}])
def test_a_lane_is_explained_from_what_its_verbalizer_reads(settings: dict[str, Any]) -> None:
    lm = tiny_lm()
    lane = make_lane(lm, (3, 2), **settings)
    gang = Gang(lm, [lane], precision="fp32")
    while gang.run_to_evaluation():
        pass
    use = lane_unit_use(gang, lane, gang.best[0], UNIT_TOKENS.tolist())
    assert use is not None
    assert use.names == ["#0", "#1", "#2", "#3", *map(str, range(UNITS))]
    test = lane.examples.splits["test"]
    scores = gang.predict(lane, gang.best[0], test).scores
    train = gang.predict(lane, gang.best[0], lane.examples.splits["train"]).scores
    for slot in range(2):
        # What the units of a class add up to is how much higher its own examples score than the background.
        for number in range(len(lane.spec.slots[slot].labels)):
            mine = scores[slot][test.labels[:, slot] == number, number]
            np.testing.assert_allclose(
                use.slots[slot].own[number].sum(), mine.mean() - train[slot][:, number].mean(), atol=1e-4
            )


def test_of_a_reading_with_features_the_scores_at_the_separators_are_explained() -> None:
    lm = tiny_lm()
    lane = make_lane(lm, read="pooled")
    gang = Gang(lm, [lane], precision="fp32")
    while gang.run_to_evaluation():
        pass
    use = lane_unit_use(gang, lane, gang.best[0], UNIT_TOKENS.tolist())
    assert use is not None
    splits, vocabulary = lane.examples.splits, lane.shape.vocabulary
    train, test = (gang.read(lane, gang.best[0], splits[split])[:, 0, :vocabulary] for split in ("train", "test"))
    matrix = lane.shape.views(gang.best[0])["verbalizer.0"][:, :vocabulary].numpy()
    for number in range(3):
        mine = test.numpy()[splits["test"].labels[:, 0] == number]
        wanted = matrix[number] * (mine.mean(axis=0) - train.numpy().mean(axis=0))
        np.testing.assert_allclose(use.slots[0].own[number].sum(), wanted.sum(), atol=1e-4)


def test_fixed_verbalizers_are_not_explained() -> None:
    lm = tiny_lm()
    lane = make_lane(lm, verbalizer="random")
    gang = Gang(lm, [lane], precision="fp32")
    assert lane_unit_use(gang, lane, gang.best[0], UNIT_TOKENS.tolist()) is None


def test_big_splits_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.tuning.results.lane_results.MOST_EXAMPLES", 20)
    examples = toy_examples((3,), rows=24)
    chosen = np.sort(np.random.default_rng(0).permutation(24)[:20])
    smaller = TaskExamples(
        {split: SplitExamples(part.units.take(chosen), part.labels[chosen]) for split, part in examples.splits.items()}
    )
    lm = tiny_lm()
    lane = make_lane(lm, examples=examples, verbalizer_init="uniform")
    gang = Gang(lm, [lane], precision="fp32")
    use = lane_unit_use(gang, lane, gang.best[0], UNIT_TOKENS.tolist())
    lane.examples = smaller
    expected = lane_unit_use(gang, lane, gang.best[0], UNIT_TOKENS.tolist())
    assert use is not None
    assert expected is not None
    np.testing.assert_allclose(use.slots[0].importance, expected.slots[0].importance, rtol=1e-5)


def test_unit_use_is_read_as_it_was_written(store_root: str) -> None:
    without = write_outcome(store_root, lane_outcome("k", lane_spec()), {})
    assert read_unit_use(store_root, without) is None
    use = LaneUnitUse([use_of([[1.0, 0.5]]), use_of([[2.0, 0.25], [0.0, 8.0]])], np.array([-1, 0]))
    outcome = write_outcome(store_root, lane_outcome("k", lane_spec()), {}, {UNIT_USE_FILE: unit_use_bytes(use)})
    found = read_unit_use(store_root, outcome)
    assert found is not None
    assert found.names == ["#0", "0"]
    assert [slot.importance.tolist() for slot in found.slots] == [[[1, 0.5]], [[2, 0.25], [0, 8]]]
    object_storage.write_bytes(object_storage.join(store_root, "k", UNIT_USE_FILE), b"x" * 20)
    with pytest.raises(StorageError, match=r"unit_use\.safetensors .*running the job tunes its lane again"):
        read_unit_use(store_root, outcome)


@pytest.mark.parametrize("classes", [2, MOST_CLASSES + 5])
def test_the_picture_grows_with_classes_and_units_up_to_a_limit(classes: int) -> None:
    rng = np.random.default_rng(0)
    use = UnitUse(rng.random((classes, 104)), rng.normal(size=(classes, 104)))
    names = [str(number) for number in range(104)]
    png = unit_use_png(use, [f"žodis {number}" for number in range(classes)], names, "lt")
    width, height = struct.unpack(">II", png[16:24])
    assert height == int(110 * (1.8 + 0.3 * min(classes, MOST_CLASSES)))
    assert 110 * 3.5 < width <= 110 * (3.5 + 0.24 * 60) + 1


def test_zeros_and_labels_with_dollars_have_a_picture_too() -> None:
    assert unit_use_png(use_of([[0.0, 0.0]]), [r"$\foo$"], ["0", "1"], r"$\bar{$ $").startswith(b"\x89PNG")
