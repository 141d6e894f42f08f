"""A task that is ready to tune: its examples are encoded, and its lanes are ordered."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.plan import PlannedTask
from orchestrator.recordings.examples import EncodedTask
from workers.baselines.order import FeatureKeys
from workers.tuning.orders import LaneOrder


@dataclass(frozen=True)
class ReadyTask:
    """A task ready to tune.

    Attributes:
        task: the planned task.
        encoded: encoded examples of the task.
        lanes: orders of the task's lanes.
        features: where the continuous features of its examples are; ``None`` if no baseline needs them, or there are
            none.
        ended_before: whether all lanes ended before this submission.
    """

    task: PlannedTask
    encoded: EncodedTask
    lanes: tuple[LaneOrder, ...]
    features: FeatureKeys | None = None
    ended_before: bool = False

    @property
    def name(self) -> str:
        return self.task.spec.name
