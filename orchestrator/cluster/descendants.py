"""Descendants of this process, found in ``/proc``, since the base install has no psutil."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_STATE, _PARENT = 0, 1
"""Indices of fields of ``/proc/<pid>/stat``, counted after the program's name, which may hold any characters."""


def descendants() -> dict[int, str]:
    """Return the program's name of each descendant of this process, by process id; without ``/proc`` nothing."""
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
    """Kill all descendants of this process: Ray's agents outlive a parent that is killed while they start."""
    # All are found before the first is killed, since the children of a dead process get another parent.
    for pid in descendants():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
