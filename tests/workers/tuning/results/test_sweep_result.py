"""Which point is the best, and who goes on at a rung."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import TuningError
from task_specs.sweep import Halving
from tests.orchestrator.test_report import outcome
from workers.tuning.results.outcome import LaneOutcome, best_lane, best_point, by_point, has_whole_point
from workers.tuning.run.halving import LOST, HalvingBoard, Score


def lane(point: str, valid: float, *, loss: float = 1.0, stopped: str = "steps", seed: int = 0) -> LaneOutcome:
    figures = {"accuracy": valid, "loss": loss}
    changes = {"stopped": stopped, "figures": {"valid": figures, "test": figures}}
    error = "toy: not finite" if stopped == "diverged" else None
    return outcome(seed, 0.0, point=point, error=error).model_copy(update=changes)


def test_the_mean_over_seeds_decides_and_then_the_loss() -> None:
    lanes = [lane("a", 0.95), lane("a", 0.5), lane("b", 0.8), lane("b", 0.7), lane("c", 0.7), lane("c", 0.8, loss=0.5)]
    assert {found.point for found in best_point(lanes)} == {"c"}
    assert list(by_point(lanes)) == ["a", "b", "c"]
    assert best_lane(best_point(lanes)).figures["valid"]["accuracy"] == 0.8
    first, second = lane("a", 0.5, seed=1), lane("a", 0.5, seed=2)
    assert best_lane([first, second]) is first


def test_a_metric_that_is_undefined_is_never_the_best() -> None:
    lanes = [lane("a", math.nan), lane("b", 0.1)]
    assert {found.point for found in best_point(lanes)} == {"b"}
    assert best_lane([lane("a", math.nan, seed=1), second := lane("a", 0.2, seed=2)]) is second


@pytest.mark.parametrize("stopped", ["diverged", "dropped"])
def test_a_point_that_lost_a_seed_is_out(stopped: str) -> None:
    lanes = [lane("a", 0.9), lane("a", 0.9, stopped=stopped), lane("b", 0.1)]
    assert {found.point for found in best_point(lanes)} == {"b"}
    assert has_whole_point(lanes)
    assert not has_whole_point(lanes[:2])


def test_where_every_point_is_out_the_first_error_is_told() -> None:
    with pytest.raises(TuningError, match="toy: not finite"):
        best_point([lane("a", 0.9, stopped="diverged"), lane("b", 0.9), lane("b", 0.9, stopped="diverged")])


def test_of_error_rates_the_lowest_is_the_best() -> None:
    def detector(point: str, rate: float) -> LaneOutcome:
        made = lane(point, 0.0)
        figures = {"eer": rate, "loss": 1.0}
        spec = made.spec.model_copy(update={"metric": "eer"})
        return made.model_copy(update={"spec": spec, "figures": {"valid": figures, "test": figures}})

    lanes = [detector("a", 0.3), detector("a", 0.1), detector("b", 0.15), detector("b", 0.2)]
    best = best_point(lanes)
    assert {found.point for found in best} == {"b"}
    assert best_lane(best).figures["valid"]["eer"] == 0.15


def board(points: dict[str, list[int]], eta: int = 2) -> HalvingBoard:
    return HalvingBoard(halving=Halving(eta=eta), steps=[5, 10], lanes=points)


def test_points_go_on_by_the_mean_over_their_seeds() -> None:
    made = board({"a": [0, 1], "b": [2, 3], "c": [4, 5]})
    scores: dict[int, Score] = {0: (0.9, -1), 1: (0.2, -1), 2: (0.6, -1), 3: (0.5, -2), 4: (0.6, -1), 5: (0.5, -1)}
    assert made.judge(scores) == [2, 3], "a and c are better, c by its loss"
    assert (list(made.lanes), made.rung) == (["a", "c"], 1)
    assert not made.waits_at(9)
    assert made.waits_at(10)
    assert made.judge(scores) == [4, 5], "equals: the first one stays"
    assert not made.waits_at(99), "there is no further rung"


def test_a_point_that_lost_a_seed_is_dropped_first() -> None:
    made = board({"a": [0, 1], "b": [2, 3]})
    assert made.judge({0: (1.0, 0.0), 1: LOST, 2: (0.1, -9), 3: (0.1, -9)}) == [0, 1]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(-9, 0)), min_size=1, max_size=30),
    st.integers(2, 5),
    st.randoms(use_true_random=False),
)
def test_the_verdict_does_not_depend_on_the_order_of_lanes(scores: list[Score], eta: int, random: object) -> None:
    points = {str(number): [number] for number in range(len(scores))}
    made, again = board(points, eta), HalvingBoard.model_validate_json(board(points, eta).model_dump_json())
    table = dict(enumerate(scores))
    dropped = made.judge(table)
    items = list(table.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert again.judge(dict(items)) == dropped
    assert len(scores) - len(dropped) == math.ceil(len(scores) / eta)
    kept = set(table) - set(dropped)
    assert all(table[number] >= table[other] for number in kept for other in dropped)
