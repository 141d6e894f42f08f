"""What the stages that work on recordings in batches share: counting, room, and workers that die."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from orchestrator.cluster.ray_data import Row
from workers.speech.unit_cache import Quarantined

Progress = Callable[[int, int], None]

DEATHS_OUTLIVED: Final = 1
"""Number of times that Ray repeats a batch whose worker died, which may have other causes than the batch."""
KILLS: Final = Quarantined(
    "fatal", "the process that read it died more than once while reading nothing else; remove its row"
)
"""Reason for a file that kills every worker that reads it."""


class Meter:
    """Counter of steps towards a total."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self._done = 0
        self._progress = progress

    def advance(self, steps: int) -> None:
        self._done += steps
        if self._progress is not None:
            self._progress(self._done, self.total)


def room_for(*, cpus: float, gpus: float) -> int:
    """Return the number of workers of a size that fit the connected cluster, at least 1."""
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    by_cpu = resources.get("CPU", 1.0) // cpus if cpus else math.inf
    by_gpu = resources.get("GPU", 0.0) // gpus if gpus else math.inf
    return max(1, int(min(by_cpu, by_gpu, 1024)))


def failure_of(row: Row) -> Quarantined | None:
    """Return why a clip cannot be used, from a worker's row; ``None`` if it can."""
    return Quarantined(**row["failure"]) if row["failure"] else None
