"""Ray Tune runs the gangs: one trial is one gang on one actor, reused from gang to gang."""

from __future__ import annotations

import hashlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune import Callback, CheckpointConfig
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from infra import object_storage
from infra.digest import canonical_json
from infra.errors import FrozenWeightsChanged, StorageError
from orchestrator.cluster.failures import cause_of, lost_with_its_node, lost_with_its_worker, place_refused
from orchestrator.cluster.interruption import Interruption
from orchestrator.cluster.session import ActorSize
from orchestrator.job_files import note_failure, noted_failure
from orchestrator.tuning.gangs import several_tasks
from workers.tuning.orders import GangOrder, LaneOrder
from workers.tuning.run.trainable import GangTrainable

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    from workers.backbone.sharing import SharedLM

MAX_FAILURES = 1
"""Times that Tune takes a gang up again from its checkpoint after its actor failed, until it has got further; the end
of a node that Ray knew to be preempted does not count."""

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


@dataclass(frozen=True)
class GangFailure:
    """Why a gang failed.

    Attributes:
        cause: in a sentence.
        of_a_task: whether one of its tasks may be to blame, and the others go well without it.
        lasting: whether later submissions leave it at that.
        worker_ended: whether it is that of a worker's process or machine, which ended without saying why.
    """

    cause: str
    of_a_task: bool
    lasting: bool = True
    worker_ended: bool = False


class GangWatcher(Callback):
    """Tells the driver how gangs fare.

    Args:
        on_report: called with a gang's name and its latest report.
        on_lanes_ended: called with a gang's name when lanes of it have ended, whichever way.
        on_recovery: called with a gang's name when it goes on from its last checkpoint, and why.
    """

    def __init__(
        self,
        *,
        on_report: Callable[[str, dict[str, Any]], None],
        on_lanes_ended: Callable[[str], None],
        on_recovery: Callable[[str, str], None],
    ) -> None:
        self._on_report, self._on_lanes_ended, self._on_recovery = on_report, on_lanes_ended, on_recovery
        self._ended: dict[str, int] = {}
        self._furthest: dict[str, int] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        gang = gang_name(trial)
        self._on_report(gang, result)
        if result["lanes_ended"] > self._ended.get(gang, 0):
            self._ended[gang] = result["lanes_ended"]
            self._on_lanes_ended(gang)

    def on_checkpoint(self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Any, **info: Any) -> None:
        steps = trial.last_result["lane_steps"]
        if steps > self._furthest.get(trial.trial_id, 0):
            self._furthest[trial.trial_id] = steps
            # Machines may come and go during a long gang; one that does not get on is given up.
            trial.run_metadata.num_failures = 0

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        noted = noted_error(trial)
        self._on_recovery(gang_name(trial), (place_refused(noted) or cause_of(noted)).partition(";")[0])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._on_lanes_ended(gang_name(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._on_lanes_ended(gang_name(trial))


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


def experiment_name(lanes: Sequence[LaneOrder]) -> str:
    """Name of the Tune experiment of these lanes; the same ones find their checkpoints again."""
    known = [[lane.key, lane.attempt] for lane in lanes]
    return f"tune-{hashlib.sha256(canonical_json(known)).hexdigest()[:16]}"


def run_gangs(
    orders: Sequence[GangOrder],
    *,
    name: str,
    root: str,
    shared: ObjectRef[SharedLM],
    size: ActorSize,
    retry_failed: bool,
    watcher: GangWatcher,
    interruption: Interruption,
) -> dict[str, GangFailure]:
    """Tune gangs until each is over; those that began before go on from their checkpoints.

    Args:
        orders: what to tune.
        name: of the Tune experiment.
        root: directory of the job, local or S3.
        shared: the LM in the object store.
        size: of actors.
        retry_failed: whether gangs that failed before are taken up again.
        watcher: hears how they fare.
        interruption: of the job.

    Returns:
        For each gang that failed its name and why.

    Raises:
        StorageError: a disk did not take what a worker wrote.
        JobInterrupted: the job was asked to end; gangs that ran have saved themselves, if they had the time.
    """
    places = {order.name: object_storage.join(root, name, order.name) for order in orders}
    failures = {
        order: GangFailure(cause, of_a_task=False, worker_ended=lost_with_its_worker(cause))
        for order, place in places.items()
        if (cause := noted_failure(place)) is not None
    }
    if retry_failed:
        for order in failures:
            note_failure(places[order], None)
        failures = {}
    to_do = [order.model_dump(mode="json") for order in orders if order.name not in failures]
    if not to_do:
        return failures
    trainable = tune.with_parameters(GangTrainable, shared=shared, tracking=orders[0].tracking)
    storage_path, filesystem = root, None
    if object_storage.is_s3(root):
        filesystem, storage_path = object_storage.arrow_filesystem(root)
    # Tune would hand these to its actors in a runtime environment, which Ray logs; workers have their node's own.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)
    with _quiet_tune(), interruption.held():
        # Not with Tune's resume: of an experiment whose driver was killed it may have noted less than was done, or
        # half a file. Every gang finds its own checkpoints.
        analysis = tune.run(
            trainable,
            name=name,
            config={"gang": tune.grid_search(to_do)},
            resources_per_trial={"cpu": size.cpus, "gpu": size.gpus},
            storage_path=storage_path,
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            max_failures=MAX_FAILURES,
            max_concurrent_trials=size.workers,
            reuse_actors=True,
            raise_on_failed_trial=False,
            scheduler=Interruptible(interruption),
            callbacks=[watcher, Interrupter(interruption)],
            trial_dirname_creator=gang_name,
            trial_name_creator=gang_name,
            verbose=0,
            log_to_file=False,
        )
        by_name = {order.name: order for order in orders}
        failed = [trial for trial in analysis.trials if trial.status == trial.ERROR]
        for trial in failed:
            # No gang is to blame, and none would get further.
            if (refused := place_refused(noted_error(trial))) is not None:
                raise StorageError(refused)
        for trial in failed:
            gang, failure = gang_name(trial), failure_of(trial)
            failures[gang] = failure
            # Of one that is dissolved the last word is not said.
            if failure.lasting and not (failure.of_a_task and several_tasks(by_name[gang])):
                note_failure(places[gang], failure.cause)
    return failures


@contextmanager
def _quiet_tune() -> Iterator[None]:
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


def noted_error(trial: Trial) -> str:
    """What Tune noted of a trial that failed: here first, and then in storage, if that takes it."""
    if trial.error_file is not None and (here := Path(trial.error_file)).exists():
        return here.read_text(encoding="utf-8", errors="replace")
    # Annotated as an exception, it is the text of one.
    return str(trial.get_error() or "")


def failure_of(trial: Trial) -> GangFailure:
    """Why a trial that ended with an error did."""
    noted = noted_error(trial)
    # Whoever attaches the same weights again finds them changed too.
    changed = f"{FrozenWeightsChanged.__module__}.{FrozenWeightsChanged.__name__}:" in noted
    lost = lost_with_its_node(noted)
    cause = cause_of(noted) or "its actor failed; see Ray's logs"
    worker_ended = lost or lost_with_its_worker(cause)
    if worker_ended and not lost:
        cause = f"{cause}; then take it up again with --retry-failed"
    return GangFailure(cause, of_a_task=not changed and not lost, lasting=not lost, worker_ended=worker_ended)
