"""What decides whether a gang goes on: failures without progress, and an interruption of the job."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster.interruption import Interruption, interruptible
from orchestrator.tuning.ray_tune import MAX_FAILURES, GangWatcher, Interruptible, failure_of


def gang() -> Trial:
    return Trial("gang", stub=True, config={"gang": {"name": "gang000"}}, max_failures=MAX_FAILURES)


def fails(trial: Trial) -> bool:
    """Whether a gang whose actor fails now is taken up again."""
    trial.run_metadata.num_failures += 1
    return not trial.should_recover()  # type: ignore[no-untyped-call]


def saved(watcher: GangWatcher, trial: Trial, steps: int) -> None:
    trial.run_metadata.last_result = {"lane_steps": steps}
    watcher.on_checkpoint(0, [trial], trial, None)


def test_a_gang_may_fail_as_often_as_it_gets_on_in_between() -> None:
    watcher = GangWatcher(on_report=lambda *_: None, on_lanes_ended=lambda _: None, on_recovery=lambda *_: None)
    trial = gang()
    for steps in range(20, 200, 20):
        saved(watcher, trial, steps)
        assert not fails(trial)


def test_a_gang_that_fails_again_where_it_failed_is_given_up() -> None:
    watcher = GangWatcher(on_report=lambda *_: None, on_lanes_ended=lambda _: None, on_recovery=lambda *_: None)
    trial = gang()
    saved(watcher, trial, 40)
    assert not fails(trial)
    for steps in (20, 40):  # from an older checkpoint to where it was
        saved(watcher, trial, steps)
    assert fails(trial)


@pytest.mark.parametrize(
    ("said", "of_a_task", "lasting"),
    [
        ("ValueError: wrong", True, True),
        ("infra.errors.FrozenWeightsChanged: changed", False, True),
        ("The actor died because its node has died. Node Id: 05", False, False),
        ("Worker exit type: SYSTEM_ERROR Worker exit detail: Worker is gone. ", True, True),
    ],
)
def test_a_gang_that_lost_its_node_is_not_given_up_for_later_submissions(
    said: str, of_a_task: bool, lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = gang()
    monkeypatch.setattr(Trial, "error_file", None)
    monkeypatch.setattr(trial, "get_error", lambda: said)
    failure = failure_of(trial)
    assert (failure.of_a_task, failure.lasting) == (of_a_task, lasting)
    assert failure.worker_ended == ("died" in said or "is gone" in said)


@pytest.mark.parametrize(
    ("noted", "why"),
    [
        (
            "Worker exit type: SYSTEM_ERROR Worker exit detail: Worker is gone. Or so.",
            "its worker process died (Worker is gone)",
        ),
        (
            "safetensors.SafetensorError: I/O error: No space left on device (os error 28)",
            "workers' files cannot be written (No space left on device)",
        ),
    ],
)
def test_a_gang_that_goes_on_says_why(noted: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, str]] = []
    watcher = GangWatcher(
        on_report=lambda *_: None, on_lanes_ended=lambda _: None, on_recovery=lambda *both: said.append(both)
    )
    (tmp_path / "error.txt").write_text(noted)
    monkeypatch.setattr(Trial, "error_file", str(tmp_path / "error.txt"))
    watcher.on_trial_recover(0, [], gang())
    assert said == [("gang000", why)]


def pausing(interruption: Interruption, decisions: list[str]) -> None:
    scheduler = Interruptible(interruption)
    with interruption.held():
        decisions.append(scheduler.on_trial_result(None, gang(), {}))  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGTERM)
        decisions.append(scheduler.on_trial_result(None, gang(), {}))  # type: ignore[arg-type]
        assert scheduler.choose_trial_to_run(None) is None  # type: ignore[arg-type]


def test_gangs_of_an_interrupted_job_are_saved_and_none_begins() -> None:
    decisions: list[str] = []
    with pytest.raises(SystemExit), interruptible(60.0) as interruption:
        pausing(interruption, decisions)
    assert decisions == [TrialScheduler.CONTINUE, TrialScheduler.PAUSE]
