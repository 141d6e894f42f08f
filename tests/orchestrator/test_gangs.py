"""Who shares a forward pass."""

from __future__ import annotations

from itertools import chain
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gangs import AUTOMATIC_LANES, form_gangs
from tests.fixtures.tuning import lane_spec
from workers.orders import LaneOrder


def lanes(*seeds_by_task: int) -> list[LaneOrder]:
    """Lanes of some tasks, so many seeds each."""
    return [
        LaneOrder(
            key=f"{task}.{seed}",
            spec=lane_spec(seed=seed).model_copy(update={"task": f"task{task}"}),
            run_name=f"task{task} s{seed}",
            params={},
        )
        for task, seeds in enumerate(seeds_by_task)
        for seed in range(seeds)
    ]


@given(st.lists(st.integers(1, 20), max_size=6), st.one_of(st.just("auto"), st.integers(1, 12)))
def test_every_lane_is_in_one_gang_and_in_order(seeds: list[int], gang: int | Literal["auto"]) -> None:
    given_lanes = lanes(*seeds)
    gangs = form_gangs(given_lanes, gang)
    assert list(chain.from_iterable(gangs)) == given_lanes
    assert all(1 <= len(part) <= (AUTOMATIC_LANES if gang == "auto" else gang) for part in gangs)


def test_automatic_gangs_keep_tasks_apart() -> None:
    gangs = form_gangs(lanes(1, AUTOMATIC_LANES + 1, 2), "auto")
    assert [{lane.spec.task for lane in gang} for gang in gangs] == [{"task0"}, {"task1"}, {"task1"}, {"task2"}]
    assert [len(gang) for gang in gangs] == [1, AUTOMATIC_LANES, 1, 2]


def test_a_number_fills_gangs_across_tasks() -> None:
    assert [[lane.key for lane in gang] for gang in form_gangs(lanes(2, 3), 4)] == [
        ["0.0", "0.1", "1.0", "1.1"],
        ["1.2"],
    ]
    assert all(len(gang) == 1 for gang in form_gangs(lanes(2, 3), 1))
