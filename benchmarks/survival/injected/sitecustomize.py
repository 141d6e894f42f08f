"""Kills processes at named input and output points, from outside: nothing of it is in the product.

Python imports a module of this name at its start. With ``SPEECHPROMPT_CRASH`` naming a directory, the functions below
are wrapped as their modules are imported. A file ``armed.json`` there, ``{"point": name, "hit": n, "driver": pid}``,
has the process that comes to the point for the n-th time kill the driver and itself with SIGKILL, once. Every optimizer
step of a lane is noted in ``steps.log``.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

FILES = {
    r"/examples/[^/]+$": "examples",
    r"/gangs/[^/]+$": "gangs",
    r"/lanes/[^/]+/prompt\.safetensors$": "outcome-prompt",
    r"/lanes/[^/]+/lane\.json$": "outcome",
    r"/bundles/[^/]+/[^/]+/prompt\.safetensors$": "bundle-prompt",
    r"/bundles/[^/]+/[^/]+/README\.md$": "bundle-card",
    r"/bundles/[^/]+/[^/]+/bundle\.json$": "bundle-commit",
    r"/bundles/[^/]+/latest\.json$": "bundle-latest",
    r"/report\.json$": "report",
}
"""What a write is called, by its place."""


class Crash:
    """Kills when its time has come.

    Args:
        directory: with ``armed.json``.
    """

    def __init__(self, directory: Path) -> None:
        self._armed, self._directory, self._hits = directory / "armed.json", directory, 0

    def at(self, point: str) -> None:
        """This process is at a point."""
        try:
            armed = json.loads(self._armed.read_text())
        except (FileNotFoundError, ValueError):
            return
        if armed["point"] != point:
            return
        self._hits += 1
        if self._hits < armed["hit"]:
            return
        try:
            self._armed.rename(self._directory / "fired.json")
        except FileNotFoundError:
            return
        for process in {armed["driver"], os.getpid()} - {os.getpid()}:
            os.kill(process, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def armed_for(self, point: str) -> bool:
        """Whether a point is the next to kill at."""
        try:
            return bool(json.loads(self._armed.read_text())["point"] == point)
        except (FileNotFoundError, ValueError):
            return False

    def around(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function between two points."""

        @wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.at(f"{name}:before")
            value = function(*arguments, **named)
            self.at(f"{name}:after")
            return value

        return wrapped


def _local_files(module: Any, crash: Crash) -> None:
    torn = module._write_part

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(uri: str, data: bytes, *more: Any) -> Any:
            name = next((name for place, name in FILES.items() if re.search(place, uri)), None)
            if name is None:
                return function(uri, data, *more)
            crash.at(f"{name}:before")
            if crash.armed_for(f"{name}:torn"):
                torn(Path(uri), lambda file: file.write(data[: len(data) // 2]))
                crash.at(f"{name}:torn")
            value = function(uri, data, *more)
            crash.at(f"{name}:after")
            return value

        return wrapped

    for name in ("write_bytes", "write_if_absent", "write_if_version"):
        setattr(module, name, around(getattr(module, name)))


def _gang_checkpoint(module: Any, crash: Crash) -> None:
    module.save_states = crash.around(module.save_states, "checkpoint-tensors")


def _session(module: Any, crash: Crash) -> None:
    module.GangSession.save = crash.around(module.GangSession.save, "checkpoint-save")


def _gang(module: Any, crash: Crash) -> None:
    steps = os.open(crash._directory / "steps.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    advance = module.Gang.advance

    def counted(self: Any) -> None:
        lanes = self.active
        advance(self)
        for lane in lanes:
            os.write(steps, f"{lane.lane.spec.task} {lane.lane.spec.seed} {lane.progress.step}\n".encode())

    module.Gang.advance = counted


def _journal(module: Any, crash: Crash) -> None:
    append = module.Journal.append

    def torn(self: Any, event: Any) -> None:
        crash.at("metric-append:before")
        if crash.armed_for("metric-append:torn"):
            line = module.document(event)
            os.write(self._append, line[: len(line) // 2])
            crash.at("metric-append:torn")
        append(self, event)
        crash.at("metric-append:after")

    module.Journal.append = torn
    module.Journal.save = crash.around(module.Journal.save, "metric-confirm")


def _store(module: Any, crash: Crash) -> None:
    module.MLflowStore.log = crash.around(module.MLflowStore.log, "metric-flush")
    module.MLflowStore.attach = crash.around(module.MLflowStore.attach, "metric-run")


def _storage(module: Any, crash: Crash) -> None:
    context = module.StorageContext
    context.persist_current_checkpoint = crash.around(context.persist_current_checkpoint, "checkpoint-upload")
    copy = module._pyarrow_fs_copy_files

    def torn(source: str, destination: str, *more: Any, **named: Any) -> None:
        if crash.armed_for("checkpoint-upload:torn") and "checkpoint_" in destination:
            first = min(Path(source).iterdir())
            (Path(destination) / first.name).write_bytes(first.read_bytes()[: first.stat().st_size // 2])
            crash.at("checkpoint-upload:torn")
        copy(source, destination, *more, **named)

    module._pyarrow_fs_copy_files = torn


def _experiment_state(module: Any, crash: Crash) -> None:
    manager = module._ExperimentCheckpointManager
    manager.sync_up_experiment_state = crash.around(manager.sync_up_experiment_state, "experiment-state")


WRAPPED: dict[str, Callable[[Any, Crash], None]] = {
    "infra.local_files": _local_files,
    "workers.tuning.run.checkpoint": _gang_checkpoint,
    "workers.tuning.run.session": _session,
    "workers.tuning.step.gang": _gang,
    "infra.tracking.journal": _journal,
    "infra.tracking.mlflow_store": _store,
    "ray.train._internal.storage": _storage,
    "ray.tune.execution.experiment_state": _experiment_state,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Wraps modules right after they were executed."""

    def __init__(self, crash: Crash) -> None:
        self._crash = crash

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        wrap = WRAPPED.get(name)
        if wrap is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            wrap(module, self._crash)

        loader.exec_module = exec_module
        return spec


if "SPEECHPROMPT_CRASH" in os.environ:
    sys.meta_path.insert(0, _Finder(Crash(Path(os.environ["SPEECHPROMPT_CRASH"]))))
