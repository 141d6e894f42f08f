"""A local Ray cluster for this process, which no other user of the machine can reach."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.errors import JobError
from infra.private_ray import HOST, OF_ANOTHER_CLUSTER, PREFIX, SESSIONS, closed, directory_for_ray, unserved
from orchestrator.cluster.descendants import descendants
from orchestrator.cluster.failures import start_fault
from orchestrator.cluster.ray_place import place_for_ray
from orchestrator.cluster.ray_watch import RAYLET_PROCESS, start_watched

TOKEN = "token_of_this_run"  # noqa: S105 - the name of its file
START_SECONDS = 180.0
"""For which a node that has not registered yet is waited for."""
REMOVAL_SECONDS = 5.0
"""Time for which Ray's processes may still write into its directory while they end."""


@contextmanager
def local_ray(**options: Any) -> Iterator[None]:
    """Start Ray for the duration of the block, with the environment variables that its clients need.

    Args:
        options: options of ``ray.init``.

    Raises:
        JobError: Ray does not start; its logs are kept until the next start.
        StorageError: other users could replace its directory.
    """
    import ray

    _, parent = place_for_ray()
    _remove_left(Path(parent))
    try:
        directory = directory_for_ray(Path(parent))
    except OSError as error:
        raise start_fault(error, None) from error
    lock, started = _lock(directory), False
    try:
        with _environment({**unserved(), **closed(directory / TOKEN)}):
            _start(directory / SESSIONS, options)
            started = True
            try:
                _require_loopback(ray.get_runtime_context().gcs_address)
                yield
            finally:
                ray.shutdown()
    finally:
        if started:
            _remove(directory)
        if lock is not None:
            os.close(lock)


def _start(sessions: Path, options: Mapping[str, Any]) -> None:
    import ray
    from ray._private import ray_constants, services

    # Ray reads the variable that ``closed`` sets only when it is imported, which may be long ago.
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    ask, services.get_node = services.get_node, _patient(services.get_node)
    try:
        with start_watched():
            ray.init(
                address="local",
                include_dashboard=False,
                _node_ip_address=HOST,
                _temp_dir=str(sessions),
                **{"log_to_driver": False, "logging_level": logging.WARNING, **options},
            )
    # Ray raises errors of any class, down to plain ``Exception``.
    except Exception as error:
        # Ends the processes that did start.
        ray.shutdown()
        raise start_fault(error, None, sessions) from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, services.get_node = before, ask


def _patient(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Ray gives its node 30 s to register, which on a busy machine is too little; wait for as long as its raylet lives,
    within bounds."""
    deadline = time.monotonic() + START_SECONDS

    def ask_again(*arguments: Any) -> Any:
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline or RAYLET_PROCESS not in descendants().values():
                    raise
                time.sleep(0.2)

    return ask_again


def _require_loopback(address: str) -> None:
    if address.rpartition(":")[0] != HOST:
        raise JobError(
            f"Ray listens at {address}, where other machines can reach it; install a version of Ray that this release "
            "supports (pip install 'speechprompt[train]')"
        )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables and unset those of another cluster for the duration of the block."""
    names = {*variables, *OF_ANOTHER_CLUSTER}
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(variables)
    _read_environment()
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)
        _read_environment()


def _read_environment() -> None:
    """Make Ray's core, which caches the environment, read it again."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _remove_left(parent: Path) -> None:
    """Remove the directories of killed runs."""
    for token in parent.glob(f"{PREFIX}*/{TOKEN}"):
        found = token.parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            continue
        lock = _lock(token.parent)
        if lock is not None:
            _remove(token.parent)
            os.close(lock)


def _lock(directory: Path) -> int | None:
    """Mark a directory as in use until this process ends, in whatever way.

    Returns:
        File descriptor of the lock; ``None`` if another process holds it, or the file system has no locks.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(directory: Path) -> None:
    deadline = time.monotonic() + REMOVAL_SECONDS
    shutil.rmtree(directory, ignore_errors=True)
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
        shutil.rmtree(directory, ignore_errors=True)
