"""What decides whether a gang goes on: failures without progress, and an interruption of the job."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster.interruption import Interruption, interruptible
from orchestrator.tuning.gang_runner import GangListener
from orchestrator.tuning.ray_tune import MAX_FAILURES
from orchestrator.tuning.tune_hooks import GangCallback, Interruptible
from workers.tuning.run.trainable import REPORT


def gang() -> Trial:
    return Trial("gang", stub=True, config={"gang": {"name": "gang000"}}, max_failures=MAX_FAILURES)


def following(said: list[tuple[str, str]]) -> GangCallback:
    """Takes down why gangs went on."""
    return GangCallback(
        GangListener(
            on_report=lambda *_: None, on_lanes_ended=lambda _: None, on_recovery=lambda *both: said.append(both)
        )
    )


def fails(trial: Trial) -> bool:
    """Whether a gang whose actor fails now is taken up again."""
    trial.run_metadata.num_failures += 1
    return not trial.should_recover()  # type: ignore[no-untyped-call]


def saved(watcher: GangCallback, trial: Trial, steps: int) -> None:
    trial.run_metadata.last_result = {REPORT: {"lane_steps": steps}}
    watcher.on_checkpoint(0, [trial], trial, None)


def test_a_gang_may_fail_as_often_as_it_gets_on_in_between() -> None:
    watcher = following([])
    trial = gang()
    for steps in range(20, 200, 20):
        saved(watcher, trial, steps)
        assert not fails(trial)


def test_a_gang_that_fails_again_where_it_failed_is_given_up() -> None:
    watcher = following([])
    trial = gang()
    saved(watcher, trial, 40)
    assert not fails(trial)
    for steps in (20, 40):  # from an older checkpoint to where it was
        saved(watcher, trial, steps)
    assert fails(trial)


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
    watcher = following(said)
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
