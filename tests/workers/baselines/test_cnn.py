"""The small network over units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import TaskSpecError
from tests.fixtures.tuning import lane_spec, toy_examples
from workers.baselines import cnn as module
from workers.baselines.baseline import BaselineTask, Fitted
from workers.baselines.cnn import MOST_TRAINED, UnitCNN, cnn, parameters, width
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.speech.sequences import UnitSequences


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_STEPS", 120)


def accuracy(fitted: Fitted) -> float:
    """Share of the test examples all of whose slots are right."""
    return float(fitted.predictions["test"].answers(None).all_right.mean())


def test_a_thousand_units_and_fifty_classes_have_room_for_the_widest() -> None:
    assert width(1000, 50) == module.WIDEST
    assert parameters(1000, 50, module.WIDEST) == 127_010


@given(st.integers(1, 2**15), st.integers(1, 20_000))
def test_no_network_is_larger_than_a_prompt(units: int, classes: int) -> None:
    size = width(units, classes)
    assert 1 <= size <= module.WIDEST
    assert parameters(units, classes, size) <= MOST_TRAINED
    assert size == module.WIDEST or parameters(units, classes, size + 1) > MOST_TRAINED


def test_what_is_counted_is_what_is_trained() -> None:
    network = UnitCNN(30, [4, 2], 5)
    everything = sum(parameter.numel() for parameter in network.parameters())
    assert parameters(30, 6, 5) == everything - 5


def test_a_row_is_scored_as_it_is_alone() -> None:
    network = UnitCNN(9, [3], 4).eval()
    rows = torch.tensor([[2, 5, 3, 0, 0, 0, 0], [4, 4, 2, 6, 7, 8, 10]])
    with torch.no_grad():
        [together], [alone] = network(rows), network(rows[:1, :3])
    torch.testing.assert_close(together[:1], alone)


def test_it_tells_classes_in_every_slot() -> None:
    examples = toy_examples((3, 2), rows=60)
    fitted = cnn(BaselineTask(lane_spec((3, 2)), examples))
    # A row may have no unit of a slot at all, which nothing can tell.
    assert accuracy(fitted) > 0.6
    assert [scores.shape for scores in fitted.predictions["valid"].scores] == [(60, 3), (60, 2)]
    units = len(np.unique(examples.splits["train"].units.flat))
    assert fitted.trained == parameters(units, 5, module.WIDEST)


def test_it_knows_the_order_of_units_and_takes_those_it_was_not_trained_on() -> None:
    rng = np.random.default_rng(0)

    def part(rows: int, first: int) -> SplitExamples:
        labels = rng.integers(2, size=rows)
        pairs = [[1, 2] if label else [2, 1] for label in labels]
        return SplitExamples(UnitSequences.of([[first, *pair, 0, *pair] for pair in pairs]), labels[:, None])

    task = BaselineTask(
        lane_spec((2,)), TaskExamples({"train": part(64, 0), "valid": part(20, 0), "test": part(30, 9)})
    )
    assert accuracy(cnn(task)) == 1


def test_the_same_task_gives_the_same_scores_whoever_drew_before() -> None:
    task = BaselineTask(lane_spec(), toy_examples((3,)))
    first = cnn(task)
    torch.rand(3)
    before = torch.random.get_rng_state()
    again = cnn(task)
    np.testing.assert_array_equal(again.predictions["test"].scores[0], first.predictions["test"].scores[0])
    assert again.settings == first.settings
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_stops_early_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_STEPS", 3000)
    settings = cnn(BaselineTask(lane_spec(), toy_examples((3,)))).settings
    assert isinstance(settings["steps"], int)
    assert isinstance(settings["best_step"], int)
    assert settings["steps"] <= settings["best_step"] + module.PATIENCE * module.STEPS_PER_EVALUATION < 3000


def test_where_no_network_is_small_enough_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TRAINED", 50)
    with pytest.raises(TaskSpecError, match=r"^toy: a cnn of 50 numbers has no room for \d+ units and 3 classes; "):
        cnn(BaselineTask(lane_spec(), toy_examples((3,))))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_nearly_the_same() -> None:
    task = BaselineTask(lane_spec((3, 2)), toy_examples((3, 2), rows=60), device="cuda")
    first, again = cnn(task), cnn(task)
    np.testing.assert_array_equal(again.predictions["test"].scores[0], first.predictions["test"].scores[0])
    assert accuracy(first) > 0.6
