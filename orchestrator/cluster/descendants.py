"""Killing of all descendants of this process: Ray's agents outlive a parent that is killed while they start."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PARENT = 1
"""Index of a field of ``/proc/<pid>/stat``, counted after the program's name, which may hold any characters."""


def kill_descendants() -> None:
    """Kill all descendants of this process; without ``/proc`` do nothing."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children[int(fields[_PARENT])].append(int(entry.parent.name))
    # All are found before the first is killed, since children of a dead process get another parent.
    below = list(children[os.getpid()])
    for pid in below:
        below += children[pid]
    for pid in below:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
