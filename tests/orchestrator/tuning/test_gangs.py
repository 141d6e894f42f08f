"""Who shares a forward pass."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import object_storage
from infra.errors import StorageError
from orchestrator.tuning.gangs import (
    LANES_PER_ROW,
    blocks_of,
    form_gangs,
    remember_gangs,
    remembered_gangs,
    useful_width,
)
from task_specs.sweep import Halving
from tests.fixtures.tuning import lane_spec
from workers.tuning.orders import LaneOrder


def lanes(*seeds_by_task: int, halving: tuple[int, ...] = (), steps: dict[int, int] | None = None) -> list[LaneOrder]:
    """Lanes of some tasks, so many seeds each.

    Args:
        seeds_by_task: lanes of each task.
        halving: tasks with halving.
        steps: of tasks with other steps than the rest.
    """
    return [
        LaneOrder(
            key=f"{task}.{seed}",
            spec=lane_spec(seed=seed, steps=(steps or {}).get(task, 9)).model_copy(update={"task": f"task{task}"}),
            run_name=f"task{task} s{seed}",
            params={},
            halving=Halving() if task in halving else None,
        )
        for task, seeds in enumerate(seeds_by_task)
        for seed in range(seeds)
    ]


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.integers(1, 12),
    st.integers(1, 9),
    st.sets(st.integers(0, 5)),
)
def test_every_lane_is_in_one_gang(seeds: list[int], width: int, actors: int, halving: set[int]) -> None:
    given_lanes = lanes(*seeds, halving=tuple(halving))
    gangs = form_gangs(given_lanes, width=width, actors=actors)
    keys = [lane.key for lane in given_lanes]
    dealt = list(chain.from_iterable(gang.lanes for gang in gangs))
    assert Counter(lane.key for lane in dealt) == Counter(keys)
    assert all(1 <= gang.width <= min(width, len(gang.lanes)) for gang in gangs)
    assert len(gangs) >= min(actors, len(blocks_of(given_lanes))), "no actor is idle"
    for gang in gangs:
        assert [lane.key for lane in gang.lanes] == sorted((lane.key for lane in gang.lanes), key=keys.index), (
            "in the order of the job"
        )
    for task in halving & set(range(len(seeds))):
        assert sum(any(lane.spec.task == f"task{task}" for lane in gang.lanes) for gang in gangs) == 1


def test_gangs_have_about_equally_much_to_do() -> None:
    gangs = form_gangs(lanes(1, 6, steps={0: 30, 1: 10}), width=8, actors=2)
    assert [[lane.key for lane in gang.lanes] for gang in gangs] == [
        ["0.0", "1.3", "1.5"],
        ["1.0", "1.1", "1.2", "1.4"],
    ]


def test_long_queues_are_parted_so_that_a_free_actor_finds_work() -> None:
    gangs = form_gangs(lanes(100), width=5, actors=2)
    assert len(gangs) == 100 / (5 * LANES_PER_ROW)
    assert {(len(gang.lanes), gang.width) for gang in gangs} == {(5 * LANES_PER_ROW, 5)}


def test_a_pass_is_no_wider_than_keeps_all_actors_at_work() -> None:
    assert useful_width([1] * 8, 2) == 4
    assert useful_width([1, 1], 8) == 1
    assert useful_width([6, 1, 1], 4) == 6, "lanes that wait for each other share an actor anyway"


def test_gangs_are_remembered(store_root: str) -> None:
    given_lanes, place = lanes(3, 2), f"{store_root}/gangs/x.json"
    assert remembered_gangs(place, given_lanes) is None
    gangs = form_gangs(given_lanes, width=2, actors=2)
    remember_gangs(place, gangs)
    assert remembered_gangs(place, given_lanes) == gangs
    for damaged in (b"[", b"[{}]", b'[{"width": 1, "lanes": ["x"]}]'):
        object_storage.write_bytes(place, damaged)
        with pytest.raises(StorageError, match=r"x\.json .*; gangs are formed anew"):
            remembered_gangs(place, given_lanes)
