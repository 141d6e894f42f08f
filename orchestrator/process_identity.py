"""Which process on which machine: so that another one can tell whether it still runs."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19
"""Fields of ``/proc/<pid>/stat`` after the name of the program, which may hold anything."""


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, also when its pid has been given to another one since.

    Attributes:
        machine: names this boot of a machine and the container in it; empty where that cannot be told.
        pid: of the process.
        started: clock ticks from boot to its start.
    """

    machine: str
    pid: int
    started: int

    @classmethod
    def own(cls) -> ProcessIdentity:
        """This process."""
        pid = os.getpid()
        _, started = _stat(pid) or ("", 0)
        return cls(_machine(), pid, started)

    def runs(self) -> bool | None:
        """Whether it runs; ``None`` where this process cannot know, as it is not on the same machine."""
        if not self.machine or self.machine != _machine():
            return None
        found = _stat(self.pid)
        return found is not None and found[0] not in "ZX" and found[1] == self.started


def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        container = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {container}".encode()).hexdigest()[:16]


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[_STATE], int(fields[_STARTED])
