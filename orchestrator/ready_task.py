"""A task that can be tuned: its examples are encoded, and its lanes are ordered."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.plan import PlannedTask
from orchestrator.recordings.examples import EncodedTask
from workers.tuning.orders import LaneOrder


@dataclass(frozen=True)
class ReadyTask:
    """A task between encoding and publishing.

    Attributes:
        task: what was planned.
        encoded: its examples.
        lanes: what is tuned.
        ended_before: whether all lanes had ended before this submission.
    """

    task: PlannedTask
    encoded: EncodedTask
    lanes: tuple[LaneOrder, ...]
    ended_before: bool = False

    @property
    def name(self) -> str:
        return self.task.spec.name
