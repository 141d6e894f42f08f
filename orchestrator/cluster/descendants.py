"""Processes below this one, found in ``/proc``: the base install has no psutil."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_STATE, _PARENT = 0, 1
"""Fields of ``/proc/<pid>/stat`` after the name of the program, which may hold anything."""


def descendants() -> dict[int, str]:
    """Name of the program of each process below this one, by process id; empty where there is no ``/proc``."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    names: dict[int, str] = {}
    for entry in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            head, _, tail = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")
            fields, pid = tail.split(), int(entry.parent.name)
            children[int(fields[_PARENT])].append(pid)
            if fields[_STATE] != "Z":
                names[pid] = head.partition("(")[2]
    below = list(children[os.getpid()])
    for pid in below:
        below += children[pid]
    return {pid: names[pid] for pid in below if pid in names}


def kill_descendants() -> None:
    """Kill them all. Ray's agents whose parent was killed while they started would go on for as long as that takes."""
    # All are found before the first is killed, since the children of one that has ended become another's.
    for pid in descendants():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
