"""Ray Train runs the gangs of big tasks: several workers tune one gang, each with its share of every batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
from ray.train import CheckpointConfig

from infra import object_storage
from infra.errors import StorageError, TuningError
from orchestrator.cluster.failures import lost_with_its_worker, place_refused
from orchestrator.cluster.ray_train import run_ranks
from orchestrator.cluster.session import ActorSize
from orchestrator.job_files import note_failure, noted_failure
from orchestrator.tuning.ray_tune import GangFailure
from workers.tuning.orders import GangOrder
from workers.tuning.run.train_rank import tune_rank

if TYPE_CHECKING:
    from ray import ObjectRef

    from workers.backbone.sharing import SharedLM


def run_parallel_gangs(
    orders: Sequence[GangOrder],
    *,
    workers: int,
    name: str,
    root: str,
    shared: ObjectRef[SharedLM],
    size: ActorSize,
    retry_failed: bool,
    on_report: Callable[[str, dict[str, Any]], None],
) -> dict[str, GangFailure]:
    """Tune gangs one after another; an interrupted one goes on from its latest checkpoint.

    Args:
        orders: what to tune.
        workers: that tune each of them together.
        name: which the runs of Ray Train share.
        root: directory of the job, local or S3.
        shared: the LM in the object store.
        size: of workers.
        retry_failed: whether gangs that failed before are taken up again.
        on_report: called with a gang's name and its latest report.

    Returns:
        For each gang that failed its name and why.

    Raises:
        StorageError: a disk did not take what a worker wrote.
    """
    if workers > size.workers:
        cause = (
            f"workers: is {workers}, but there is room for {size.workers} with {size.cpus:g} CPUs and "
            f"{size.gpus:g} GPUs each; lower it, or give the job more resources"
        )
        return {order.name: GangFailure(cause, of_a_task=True) for order in orders}
    failures: dict[str, GangFailure] = {}
    for order in orders:
        run = f"{name}-{order.name}"
        directory = object_storage.join(root, run)
        before = noted_failure(directory)
        if before is not None:
            if not retry_failed:
                failures[order.name] = GangFailure(before, of_a_task=True, worker_ended=lost_with_its_worker(before))
                continue
            note_failure(directory, None)
        try:
            run_ranks(
                tune_rank,
                {"order": order.model_dump(mode="json"), "shared": shared, "tracking": ray.put(order.tracking)},
                name=run,
                root=root,
                workers=workers,
                size=size,
                checkpoints=CheckpointConfig(num_to_keep=1),
                heard=partial(on_report, order.name),
            )
        except TuningError as error:
            if (refused := place_refused(str(error))) is not None:
                raise StorageError(refused) from error
            worker_ended = lost_with_its_worker(str(error))
            failures[order.name] = GangFailure(str(error), of_a_task=True, worker_ended=worker_ended)
            note_failure(directory, str(error))
    return failures
