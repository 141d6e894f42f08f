"""The processes of one submission or one cluster, told from all others by a variable that they inherit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

VARIABLE = "SPEECHPROMPT_KILLS"
SIGNS: dict[str, Callable[[str], bool]] = {
    "actor": lambda title: title.startswith("ray::") and "_Publishing" not in title and "Inner" in title,
    "publisher": lambda title: title.startswith("ray::_Publishing"),
    "raylet": lambda title: title.split(" ")[0].endswith("/raylet"),
    "gcs": lambda title: title.split(" ")[0].endswith("/gcs_server"),
}
"""By which the command line of each kind of victim is known; a driver is known by its pid."""
LOOK_SECONDS = 0.25


def processes(mark: str) -> Iterator[tuple[psutil.Process, str]]:
    """Those that run with this mark, in the order of their pids, each with its command line."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(VARIABLE) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process, " ".join(process.cmdline())


def victims(mark: str, kind: str) -> list[psutil.Process]:
    """Those of a kind of victim."""
    return [process for process, title in processes(mark) if SIGNS[kind](title)]


def at_work(title: str) -> bool:
    """Whether a command line is that of a Ray worker that has not given its work back."""
    return title.startswith("ray::") and "IDLE" not in title and "Agent" not in title


def left_after(mark: str, seconds: float, *, only_workers: bool) -> list[str]:
    """Command lines of what runs on after so many seconds; it is killed.

    Args:
        mark: of the processes.
        seconds: for which they may go on.
        only_workers: whether processes that do no work are those of a cluster, which stays.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = [one for one in processes(mark) if not only_workers or at_work(one[1])]
        if not found or time.monotonic() > deadline:
            break
        time.sleep(LOOK_SECONDS)
    for process, _ in found:
        with suppress(psutil.Error):
            process.kill()
    return [title[:120] for _, title in found]


def kill_all(mark: str) -> None:
    """End whatever has this mark."""
    left_after(mark, 0.0, only_workers=False)


def environment(mark: str) -> dict[str, str]:
    """Of the processes that are to have it."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    patience = {"RAY_worker_niceness": "0", "RAY_agent_register_timeout_ms": "300000"}
    return {**os.environ, "PYTHONPATH": path, VARIABLE: mark, **patience}
