"""A Ray of this process alone, which no other user of the machine can reach."""

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

TOKEN = "token_of_this_run"  # noqa: S105 - the name of its file
START_SECONDS = 180.0
"""For which a node that has not registered yet is waited for."""
RAYLET = "raylet"
REMOVAL_SECONDS = 5.0
"""For which Ray's processes, while they end, may still write into its directory."""


@contextmanager
def local_ray(**options: Any) -> Iterator[None]:
    """Start Ray for the time of the block, in which the environment is that of its clients.

    Args:
        options: of ``ray.init``.

    Raises:
        JobError: why it does not start; its logs are left until another one starts.
        StorageError: others could replace its directory.
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

    # Ray has read the switch of ``closed`` when it was imported, which may be long ago.
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    ask, services.get_node = services.get_node, _patient(services.get_node)
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            _node_ip_address=HOST,
            _temp_dir=str(sessions),
            **{"log_to_driver": False, "logging_level": logging.WARNING, **options},
        )
    # Ray passes on what the system, its own processes and its checks raise, down to plain ``Exception``.
    except Exception as error:
        # What did start would stay behind.
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
                if time.monotonic() > deadline or RAYLET not in descendants().values():
                    raise
                time.sleep(0.2)

    return ask_again


def _require_loopback(address: str) -> None:
    if address.rpartition(":")[0] != HOST:
        raise JobError(
            f"Ray listens at {address}, where other machines reach it; install one that this release was tried with "
            "(pip install 'speechprompt[train]')"
        )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables and take out those of another cluster; afterwards everything is as before."""
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
    """Ray's core keeps what it has read of it."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _remove_left(parent: Path) -> None:
    """Remove directories of runs that were killed."""
    for token in parent.glob(f"{PREFIX}*/{TOKEN}"):
        found = token.parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            continue
        lock = _lock(token.parent)
        if lock is not None:
            _remove(token.parent)
            os.close(lock)


def _lock(directory: Path) -> int | None:
    """Mark a directory as in use, before anything is in it and until this process ends, however it does.

    Returns:
        What is to be closed; ``None`` if another process uses it, or the file system knows no such locks.
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
