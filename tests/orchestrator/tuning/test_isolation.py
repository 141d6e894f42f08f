"""Which gangs an order is dissolved into, and how that is remembered."""

from __future__ import annotations

from pathlib import Path

from orchestrator.tuning.gangs import DissolvedGangs, several_tasks, single_task_orders
from task_specs.sweep import Halving
from tests.fixtures.orders import gang_order
from tests.fixtures.tuning import lane_spec
from workers.tuning.orders import GangOrder, LaneOrder


def lane(task: str, key: str, *, halving: Halving | None = None) -> LaneOrder:
    spec = lane_spec().model_copy(update={"task": task})
    return LaneOrder(key=key, spec=spec, run_name=key, params={}, halving=halving)


def gang(*lanes: LaneOrder) -> GangOrder:
    return gang_order(lanes, "/outcomes", name="gang007-first+2")


def test_a_gang_is_dissolved_by_tasks_and_those_that_ended_are_left_out() -> None:
    halving = Halving(eta=2, rungs=1)
    order = gang(
        lane("first", "a"),
        lane("swept", "b", halving=halving),
        lane("first", "c"),
        lane("done", "d"),
        lane("swept", "e", halving=halving),
        lane("first", "f"),
    )
    assert several_tasks(order)
    alone = single_task_orders(order, checkpoints="/trial", ended=["a", "b", "d"])
    assert {one.name: ([each.key for each in one.lanes], one.width) for one in alone} == {
        "gang007-alone-first": (["c", "f"], 2),
        "gang007-alone-swept": (["b", "e"], 2),
    }
    assert {one.began_in for one in alone} == {"/trial"}
    assert not any(several_tasks(one) for one in alone)


def test_dissolved_gangs_are_remembered_in_batches(tmp_path: Path) -> None:
    place = str(tmp_path / "gangs" / "dissolved.json")
    said: list[str] = []
    DissolvedGangs(place, said.append).add(["one", "two"])
    DissolvedGangs(place, said.append).add(["three"])
    found = DissolvedGangs(place, said.append)
    assert found.batches == [["one", "two"], ["three"]]
    assert "three" in found
    assert "four" not in found
    assert not said
    Path(place).write_text('{"a": 1}')
    assert DissolvedGangs(place, said.append).batches == []
    assert "its gangs are tried together again" in said[0]
