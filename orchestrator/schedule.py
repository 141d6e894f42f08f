"""Ray Tune runs the gangs: one trial is one gang on one actor, reused from gang to gang."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune import Callback, CheckpointConfig

from infra import object_storage
from orchestrator.cluster import ActorSize
from orchestrator.failure_text import cause_of
from workers.actor import GangTrainable
from workers.backbone.fingerprint import canonical_json
from workers.orders import GangOrder, LaneOrder

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.tune.experiment import Trial

    from workers.backbone.sharing import SharedLM

MAX_FAILURES = 1
"""Times that Tune takes a gang up again from its checkpoint after its actor failed."""

TALKATIVE = (
    "ray.tune.execution.tune_controller",
    "ray.tune.analysis.experiment_analysis",
    "ray.tune.tune",
    "ray.train._internal.storage",
)
"""Loggers that print pages of traceback: on trials that failed, which the report has in a sentence each, and on
checkpoints that are gone already when they are to be deleted."""


class GangWatcher(Callback):
    """Tells the driver how gangs fare.

    Args:
        on_report: called with a gang's name and its latest report.
        on_lanes_ended: called with a gang's name when lanes of it have ended, whichever way.
    """

    def __init__(
        self, *, on_report: Callable[[str, dict[str, Any]], None], on_lanes_ended: Callable[[str], None]
    ) -> None:
        self._on_report, self._on_lanes_ended = on_report, on_lanes_ended
        self._ended: dict[str, int] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        gang = gang_name(trial)
        self._on_report(gang, result)
        if result["lanes_ended"] > self._ended.get(gang, 0):
            self._ended[gang] = result["lanes_ended"]
            self._on_lanes_ended(gang)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._on_lanes_ended(gang_name(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._on_lanes_ended(gang_name(trial))


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
) -> dict[str, str]:
    """Tune gangs until each is over; an interrupted experiment of the same name goes on from its checkpoints.

    Args:
        orders: what to tune.
        name: of the Tune experiment.
        root: directory of the job, local or S3.
        shared: the LM in the object store.
        size: of actors.
        retry_failed: whether gangs that failed before are taken up again.
        watcher: hears how they fare.

    Returns:
        For each gang that failed its name and why.
    """
    trainable = tune.with_parameters(GangTrainable, shared=shared)
    storage_path, filesystem = root, None
    if object_storage.is_s3(root):
        filesystem, storage_path = object_storage.arrow_filesystem(root)
    with _quiet_tune():
        analysis = tune.run(
            trainable,
            name=name,
            config={"gang": tune.grid_search([order.model_dump(mode="json") for order in orders])},
            resources_per_trial={"cpu": size.cpus, "gpu": size.gpus},
            storage_path=storage_path,
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_frequency=1),
            max_failures=MAX_FAILURES,
            max_concurrent_trials=size.workers,
            reuse_actors=True,
            raise_on_failed_trial=False,
            resume=_resume_mode(object_storage.join(root, name), retry_failed=retry_failed),
            callbacks=[watcher],
            trial_dirname_creator=gang_name,
            trial_name_creator=gang_name,
            verbose=0,
            log_to_file=False,
        )
    return {gang_name(trial): _cause(trial) for trial in analysis.trials if trial.status == "ERROR"}


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


def _resume_mode(directory: str, *, retry_failed: bool) -> str | None:
    """What Tune shall take up again; ``None`` if the experiment has not begun."""
    begun = any(key.startswith("experiment_state-") for key in object_storage.list_files(directory))
    if not begun:
        return None
    return "AUTO+ERRORED" if retry_failed else "AUTO"


def _cause(trial: Trial) -> str:
    # Annotated as an exception, it is the text of one.
    return cause_of(str(trial.get_error() or "")) or "its actor failed; see Ray's logs"
