"""Gangs that fail as a whole are dissolved, in this submission and in later ones; Ray Tune is stood in for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.interruption import Interruption
from orchestrator.cluster.session import ActorSize
from orchestrator.job import Job, load_job
from orchestrator.progress import ProgressView
from orchestrator.tuning.gang_runner import GangFailure
from orchestrator.tuning.outcomes import Outcomes
from orchestrator.tuning.ray_tune import TuneRunner
from orchestrator.tuning.resolved import ResolvedSettings
from orchestrator.tuning.tuning import Tuning, TuningContext
from tests.fixtures.orders import lane_outcome
from tests.fixtures.tiny_job import write_yaml
from tests.fixtures.tuning import lane_spec
from workers.tuning.orders import GangOrder, LaneOrder
from workers.tuning.results.outcome import LaneOutcome, write_outcome

CAUSE = "its worker process died"


def lane(task: str, seed: int = 0) -> LaneOrder:
    spec = lane_spec(seed=seed).model_copy(update={"task": task})
    return LaneOrder(key=f"{task}{seed}", spec=spec, run_name=f"{task} s{seed}", params={})


LANES = [lane("first", 0), lane("first", 1), lane("bad"), lane("ended"), lane("other"), lane("last")]


class Machines:
    """Runs gangs: one with a lane of task ``bad`` fails, but not before its lane of task ``ended`` has ended."""

    def __init__(self, *, of_a_task: bool = True) -> None:
        self.ran: list[list[str]] = []
        self._of_a_task = of_a_task

    def run(self, orders: Sequence[GangOrder], _: Any) -> dict[str, GangFailure]:
        failures = {}
        self.ran.append([f"{order.name}: {' '.join(lane.key for lane in order.lanes)}" for order in orders])
        for order in orders:
            fails = any(lane.spec.task == "bad" for lane in order.lanes)
            for lane in order.lanes:
                if not fails or lane.spec.task == "ended":
                    write_outcome(order.outcomes, outcome(lane), {})
            if fails:
                failures[order.name] = GangFailure(CAUSE, of_a_task=self._of_a_task)
        return failures


def outcome(lane: LaneOrder) -> LaneOutcome:
    return lane_outcome(lane.key, lane.spec)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    file = write_yaml(tmp_path / "job.yaml", {"name": "toy", "backbone": "backbone", "tasks": "x.yaml", "gang": 4})
    return load_job(str(file))


def tune(job: Job, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Tuning:
    """One submission."""
    monkeypatch.setattr(TuneRunner, "run", lambda _, *given: machines.run(*given))

    def heard(_: Collection[str]) -> None:
        return

    with ProgressView() as view:
        context = TuningContext(
            job=job,
            resolved=ResolvedSettings(f"{job.storage}/toy", anew=False, say=view.line),
            precision="fp32",
            shared=None,  # type: ignore[arg-type]
            size=ActorSize(cpus=1, gpus=0, workers=2),
            outcomes=Outcomes(f"{job.storage}/toy/lanes", unit_lm="0" * 64, say=view.line),
            submission="toy/1",
            spool="",
            retry_failed=False,
            interruption=Interruption(),
        )
        tuning = Tuning(context, view=view, on_lanes_ended=heard)
        tuning.run(LANES)
    return tuning


def test_the_tasks_of_a_gang_that_fails_go_on_each_alone(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Machines()
    tuning = tune(job, machines, monkeypatch)
    together, alone = machines.ran
    assert len(together) == 2
    [dissolved] = [gang for gang in together if "bad0" in gang]
    mates = [key for key in dissolved.split(": ")[1].split() if key not in ("bad0", "ended0")]
    assert mates, "the test wants the culprit to have company"
    assert sorted(key for gang in alone for key in gang.split(": ")[1].split()) == sorted(["bad0", *mates])
    assert all("-alone-" in gang for gang in alone)
    assert tuning.failures == {"bad": CAUSE}
    assert [lane.key for lane in tuning.lost] == ["bad0"]


def test_a_later_submission_finds_the_culprit_where_it_was_left(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(job, Machines(), monkeypatch)
    machines = Machines()
    tuning = tune(job, machines, monkeypatch)
    assert [gang.partition("-")[2] for ran in machines.ran for gang in ran] == ["alone-bad: bad0"]
    assert tuning.failures == {"bad": CAUSE}


def test_a_gang_that_failed_for_no_task_is_not_dissolved(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Machines(of_a_task=False)
    tuning = tune(job, machines, monkeypatch)
    assert len(machines.ran) == 1
    assert "bad" in tuning.failures
    assert len(tuning.failures) > 1
