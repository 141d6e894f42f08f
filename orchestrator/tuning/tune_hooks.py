"""What this program does with Tune beyond its public interface, or by its callbacks; a new Ray is tried here first."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Callback
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from orchestrator.cluster.failures import cause_of, place_refused
from orchestrator.cluster.interruption import Interruption
from orchestrator.tuning.gang_runner import GangListener
from workers.tuning.run.progress import GangReport
from workers.tuning.run.trainable import REPORT

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")

TALKATIVE = (
    "ray.tune.execution.experiment_state",
    "ray.tune.execution.tune_controller",
    "ray.tune.analysis.experiment_analysis",
    "ray.tune.tune",
    "ray.train._internal.storage",
)
"""Loggers that print pages of traceback: on trials that failed, which the report has in a sentence each, and on
checkpoints that are gone already when they are to be deleted, and on a state of the experiment that was replaced while
it was copied, which nothing takes up."""


class GangCallback(Callback):
    """Tells a listener how gangs fare.

    Args:
        listener: of the gangs of the experiment.
    """

    def __init__(self, listener: GangListener) -> None:
        self._listener = listener
        self._ended: dict[str, int] = {}
        self._furthest: dict[str, int] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        gang, report = gang_name(trial), GangReport(**result[REPORT])
        self._listener.on_report(gang, report)
        if report.lanes_ended > self._ended.get(gang, 0):
            self._ended[gang] = report.lanes_ended
            self._listener.on_lanes_ended(gang)

    def on_checkpoint(self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Any, **info: Any) -> None:
        steps = trial.last_result[REPORT]["lane_steps"]
        if steps > self._furthest.get(trial.trial_id, 0):
            self._furthest[trial.trial_id] = steps
            # Machines may come and go during a long gang; one that does not get on is given up.
            trial.run_metadata.num_failures = 0

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        said = said_of(trial)
        self._listener.on_recovery(gang_name(trial), (place_refused(said) or cause_of(said)).partition(";")[0])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._listener.on_lanes_ended(gang_name(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._listener.on_lanes_ended(gang_name(trial))


class Interruptible(FIFOScheduler):
    """Begins gangs in their order; once the job is interrupted it begins none, and each that runs saves itself.

    Args:
        interruption: of the job.
    """

    def __init__(self, interruption: Interruption) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._interruption = interruption

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        return str(TrialScheduler.PAUSE if self._interruption.requested else TrialScheduler.CONTINUE)

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        return None if self._interruption.requested else super().choose_trial_to_run(tune_controller)


class Interrupter(Callback):
    """Ends Tune when every gang of an interrupted job has saved itself, or half of the grace is over.

    Args:
        interruption: of the job.
    """

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if not self._interruption.requested:
            return
        saved = all(trial.status != trial.RUNNING for trial in trials)
        if saved or self._interruption.left < self._interruption.grace / 2:
            # By which Tune can be told to end in good order.
            signal.raise_signal(signal.SIGUSR1)


def gang_name(trial: Trial) -> str:
    """The name of the gang that a trial tunes."""
    return str(trial.config["gang"]["name"])


def keep_secrets_from_actors() -> None:
    """Tune would hand credentials to its actors in a runtime environment, which Ray logs; workers have their node's."""
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)


@contextmanager
def quiet_tune() -> Iterator[None]:
    """Silences the loggers above in this process for the time of the block."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def said_of(trial: Trial) -> str:
    """What Tune says of a trial that failed: it writes here first, and then in storage, if that takes it."""
    if trial.error_file is not None and (here := Path(trial.error_file)).exists():
        return here.read_text(encoding="utf-8", errors="replace")
    # Annotated as an exception, it is the text of one.
    return str(trial.get_error() or "")
