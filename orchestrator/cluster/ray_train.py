"""Data-parallel work on Ray Train: a function on some workers, whose reports are heard while it runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from ray.train import CheckpointConfig, FailureConfig, Result, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer
from ray.util.queue import Empty, Queue

from infra import object_storage
from infra.errors import TuningError
from orchestrator.cluster.failures import cause_of
from orchestrator.cluster.session import ActorSize

MAX_FAILURES = 1
"""Times that Train goes on from the latest checkpoint after a worker failed."""

POLLING = ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
"""Train hears its workers every two seconds, and each report waits until the one before was heard."""


class RanksFailed(TuningError):
    """A rank failed for good; the message is the cause, without a traceback.

    Args:
        said: all that Train says of it.
    """

    def __init__(self, said: str) -> None:
        super().__init__(cause_of(said))
        self.said = said


def run_ranks(
    function: Callable[[dict[str, Any]], None],
    config: Mapping[str, Any],
    *,
    name: str,
    root: str,
    workers: int,
    size: ActorSize,
    checkpoints: CheckpointConfig,
    heard: Callable[[Any], None],
) -> Result:
    """Run a function as ``workers`` ranks; an interrupted run of the same name goes on from its latest checkpoint.

    Args:
        function: what each rank runs; its argument is ``config`` and a ``queue``.
        config: for the function.
        name: of the run.
        root: directory of the job, local or S3.
        workers: ranks.
        size: of each.
        checkpoints: which are kept.
        heard: called with everything that is put into the queue.

    Raises:
        RanksFailed: why a rank failed, without its traceback.
    """
    storage_path, filesystem = root, None
    if object_storage.is_s3(root):
        filesystem, storage_path = object_storage.arrow_filesystem(root)
    os.environ.setdefault(*POLLING)
    queue = Queue(actor_options={"num_cpus": 0})
    trainer = TorchTrainer(
        function,
        train_loop_config={**config, "queue": queue},
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=size.gpus > 0,
            resources_per_worker={"CPU": size.cpus, **({"GPU": size.gpus} if size.gpus else {})},
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=filesystem,
            checkpoint_config=checkpoints,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(queue, heard, done), daemon=True)
    watcher.start()
    try:
        return _fit(trainer)
    except TrainingFailedError as error:
        raise RanksFailed(str(error)) from error
    finally:
        done.set()
        watcher.join()
        queue.shutdown()


def _fit(trainer: TorchTrainer) -> Result:
    """Not in the main thread, whose Ctrl-C Ray Train would take from the command."""
    outcome: Future[Result] = Future()

    def fit() -> None:
        try:
            outcome.set_result(trainer.fit())
        except BaseException as error:  # noqa: BLE001  it is raised again, where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=fit, daemon=True).start()
    return outcome.result()


def _watch(queue: Queue, heard: Callable[[Any], None], done: threading.Event) -> None:
    while not done.is_set():
        try:
            item = queue.get(timeout=0.5)
        except Empty:
            continue
        heard(item)
