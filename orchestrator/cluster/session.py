"""Ray session of a command: the cluster at RAY_ADDRESS, or a local Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from infra.errors import InvalidInputs, JobError, MissingExtra
from orchestrator.cluster.descendants import kill_descendants
from orchestrator.cluster.failures import leave_pages_in_rays_logs, rays_faults_explained, start_fault
from orchestrator.cluster.local_ray import local_ray
from orchestrator.cluster.ray_place import cluster_address, ray_problems, require_answer
from orchestrator.cluster.ray_watch import answered_within, ray_watched
from orchestrator.job import Resources

JOIN_SECONDS = 60.0
"""Longest time to join a cluster; with a wrong token Ray would wait for minutes or forever."""


@dataclass(frozen=True)
class ActorSize:
    """Resources of one actor, and the largest number of actors."""

    cpus: float
    gpus: float
    workers: int


@contextmanager
def ray_session() -> Iterator[None]:
    """Connect to Ray for the duration of the block; a Ray that was running before keeps running.

    Raises:
        MissingExtra: Ray is not installed.
        InvalidInputs: this machine or its environment is not fit for Ray.
        JobError: the cluster at RAY_ADDRESS does not let this process join.
        RayFailed: Ray does not start, the cluster at RAY_ADDRESS does not answer, or Ray fails in the block.
    """
    # Tune's loggers and console output repeat MLflow and our progress display.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Checkpoints are small and follow evaluations; Tune would warn whenever two come within five seconds.
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
    # Ray 2.60 announces a coming change of default for tasks without accelerators; we ask for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # The command handles Ctrl-C, so that gangs save themselves first.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    if problems := ray_problems():
        raise InvalidInputs(problems)
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "train") from error
    leave_pages_in_rays_logs()
    if ray.is_initialized():
        with rays_faults_explained():
            yield
        return
    address = cluster_address()
    try:
        with (
            local_ray() if address is None else _joined(address),
            ray_watched(own=address is None),
            rays_faults_explained(),
        ):
            yield
    except (KeyboardInterrupt, SystemExit):
        # Ray does not clean up an interrupted start.
        kill_descendants()
        raise


@contextmanager
def _joined(address: str) -> Iterator[None]:
    """Join the cluster at RAY_ADDRESS as a driver.

    Raises:
        JobError, RayFailed: the cluster does not answer, or does not let this process join.
    """
    import ray

    require_answer(address)
    silence = (
        f"RAY_ADDRESS: the Ray cluster at {address} has not let this process join within {JOIN_SECONDS:.0f} s; check "
        "that it works, and that RAY_AUTH_TOKEN or ~/.ray/auth_token holds its token"
    )
    try:
        with answered_within(JOIN_SECONDS, silence):
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    # Ray raises errors of any class, down to plain ``Exception``.
    except Exception as error:
        # Ends what did start.
        ray.shutdown()
        raise start_fault(error, address) from error
    try:
        yield
    finally:
        ray.shutdown()


def actor_size(resources: Resources) -> ActorSize:
    """Return the job's resources, with unset ones chosen from the connected cluster's.

    Raises:
        JobError: no actor of that size fits the cluster.
    """
    import ray

    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    actor_gpus = resources.gpus if resources.gpus is not None else min(1.0, gpus)
    if resources.cpus is not None:
        actor_cpus = resources.cpus
    else:
        actor_cpus = max(1.0, cpus // max(1.0, gpus / actor_gpus)) if actor_gpus else 1.0
    fitting = int(min(cpus // actor_cpus, gpus // actor_gpus if actor_gpus else float("inf")))
    if fitting < 1:
        raise JobError(
            f"resources: an actor of {actor_cpus:g} CPUs and {actor_gpus:g} GPUs does not fit the cluster's "
            f"{cpus:g} CPUs and {gpus:g} GPUs; lower them"
        )
    return ActorSize(cpus=actor_cpus, gpus=actor_gpus, workers=min(fitting, resources.workers or fitting))
