"""Lanes go on alone where a gang of several tasks left a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from task_specs.sweep import Halving
from tests.fixtures.gang_bench import SOUND, Bench, mixed, sweep
from workers.tuning.orders import LaneOrder
from workers.tuning.run.session import GangSession


def leave_checkpoint(run: GangSession, trial: Path, number: int) -> Path:
    directory = trial / f"checkpoint_{number:06d}"
    directory.mkdir(parents=True)
    run.save(directory)
    return directory


def of_task(lane: LaneOrder, task: str) -> LaneOrder:
    return lane.model_copy(update={"spec": lane.spec.model_copy(update={"task": task})})


@pytest.mark.parametrize("pauses", [4])
def test_lanes_go_on_alone_from_the_last_checkpoint_of_their_gang(bench: Bench, tmp_path: Path, pauses: int) -> None:
    lanes = mixed(bench)
    bench.finish(bench.run(lanes, width=3, name="together"))
    dying = bench.run(lanes, width=3, name="alone")
    reports = [dying.step() for _ in range(pauses)]
    leave_checkpoint(dying, tmp_path / "trial", pauses)
    taken = 0
    for lane in lanes:
        run = bench.run([lane], width=1, name="alone")
        assert run.adopt_from(str(tmp_path / "trial"))
        if not run.done:
            taken += int(bench.finish(run)[0].lane_steps > 3)
    assert taken > 0 or pauses == 1
    assert reports[-1].lane_steps > 0
    bench.assert_same("alone", "together", SOUND)


@pytest.mark.parametrize("pauses", [5])
def test_a_sweep_goes_on_alone_with_its_rungs(bench: Bench, tmp_path: Path, pauses: int) -> None:
    lanes = sweep(bench, Halving(eta=2, rungs=2), [1e-6, 0.003, 0.03, 1e-4])
    others = [of_task(bench.lane(f"other{seed}", (4, 2), seed=seed, steps=13), "another") for seed in range(2)]
    bench.finish(bench.run(lanes, width=3, name="straight"))
    gang = [others[0], *lanes, others[1]]
    dying = bench.run(gang, width=3, name="alone")
    for _ in range(pauses):
        dying.step()
    leave_checkpoint(dying, tmp_path / "trial", pauses)
    run = bench.run(lanes, width=3, name="alone")
    assert run.adopt_from(str(tmp_path / "trial"))
    bench.finish(run)
    bench.assert_same("alone", "straight", keys(lanes))


def keys(lanes: Sequence[LaneOrder]) -> list[str]:
    return [lane.key for lane in lanes]


def test_a_checkpoint_that_is_not_whole_is_passed_over(bench: Bench, tmp_path: Path) -> None:
    first, second = bench.lane("first", steps=30), of_task(bench.lane("second", seed=1, steps=30), "another")
    dying = bench.run([first, second], width=2, name="dying")
    for number in range(3):
        dying.step()
        directory = leave_checkpoint(dying, tmp_path / "trial", number)
    (directory / "lanes.safetensors").write_bytes(b"x")
    run = bench.run([second], width=1, name="alone")
    assert run.adopt_from(str(tmp_path / "trial"))
    assert run.step().lane_steps == 9
    fresh = bench.run([second], width=1, name="alone")
    assert not fresh.adopt_from(str(tmp_path / "nothing"))
    assert fresh.step().lane_steps == 3
