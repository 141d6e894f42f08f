"""Ray Tune runs the gangs: one trial is one gang on one actor, reused from gang to gang."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from ray import tune
from ray.tune import CheckpointConfig

from infra import object_storage
from infra.digest import canonical_json
from orchestrator.cluster.failures import place_refused
from orchestrator.cluster.interruption import Interruption
from orchestrator.tuning.gang_runner import GangFailure, GangListener, GangRunner, Workplace
from orchestrator.tuning.tune_hooks import (
    GangCallback,
    Interrupter,
    Interruptible,
    gang_name,
    keep_secrets_from_actors,
    quiet_tune,
    said_of,
)
from workers.tuning.orders import GangOrder, LaneOrder
from workers.tuning.run.trainable import GangTrainable

MAX_FAILURES = 1
"""Times that Tune takes a gang up again from its checkpoint after its actor failed, until it has got further; the end
of a node that Ray knew to be preempted does not count."""


def experiment_name(lanes: Sequence[LaneOrder]) -> str:
    """Name of the experiment of these lanes; the same ones find their checkpoints again."""
    known = [[lane.key, lane.attempt] for lane in lanes]
    return f"tune-{hashlib.sha256(canonical_json(known)).hexdigest()[:16]}"


class TuneRunner(GangRunner):
    """Tunes as many gangs at a time as there is room for.

    Args:
        place: where they run; the Tune experiment has its name.
        retry_failed: whether gangs that failed before are taken up again.
        interruption: of the job.
    """

    def __init__(self, place: Workplace, *, retry_failed: bool, interruption: Interruption) -> None:
        super().__init__(place, retry_failed=retry_failed)
        self._interruption = interruption

    def directory(self, gang: str) -> str:
        return self._below_root(self.place.name, gang)

    def run(self, orders: Sequence[GangOrder], listener: GangListener) -> dict[str, GangFailure]:
        # What failed is noted before the job ends.
        with self._interruption.held():
            return super().run(orders, listener)

    def _carry_out(self, orders: Sequence[GangOrder], listener: GangListener) -> Iterator[tuple[str, str]]:
        place = self.place
        trainable = tune.with_parameters(GangTrainable, shared=place.shared, tracking=orders[0].tracking)
        storage_path, filesystem = place.root, None
        if object_storage.is_s3(place.root):
            filesystem, storage_path = object_storage.arrow_filesystem(place.root)
        keep_secrets_from_actors()
        with quiet_tune():
            # Not with Tune's resume: of an experiment whose driver was killed it may have noted less than was done, or
            # half a file. Every gang finds its own checkpoints.
            analysis = tune.run(
                trainable,
                name=place.name,
                config={"gang": tune.grid_search([order.model_dump(mode="json") for order in orders])},
                resources_per_trial={"cpu": place.size.cpus, "gpu": place.size.gpus},
                storage_path=storage_path,
                storage_filesystem=filesystem,
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                max_failures=MAX_FAILURES,
                max_concurrent_trials=place.size.workers,
                reuse_actors=True,
                raise_on_failed_trial=False,
                scheduler=Interruptible(self._interruption),
                callbacks=[GangCallback(listener), Interrupter(self._interruption)],
                trial_dirname_creator=gang_name,
                trial_name_creator=gang_name,
                verbose=0,
                log_to_file=False,
            )
            said = [(gang_name(trial), said_of(trial)) for trial in analysis.trials if trial.status == trial.ERROR]
        # Where a disk is full, nothing is noted of gangs that failed at the same time.
        yield from sorted(said, key=lambda one: place_refused(one[1]) is None)
