"""Processes below this one, for an end at once: Ray's agents, whose parent was killed while they started, go on for as
long as that takes."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PARENT = 1
"""Field of ``/proc/<pid>/stat`` after the name of the program, which may hold anything."""


def kill_descendants() -> None:
    """End them without further ado; where there is no ``/proc``, they are left to find out by themselves."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children[int(fields[_PARENT])].append(int(entry.parent.name))
    # All are found before the first is killed, since the children of one that has ended are another's.
    below = list(children[os.getpid()])
    for pid in below:
        below += children[pid]
    for pid in below:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
