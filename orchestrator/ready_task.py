"""A task that is ready to tune: its examples are encoded, and its lanes are ordered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.plan import PlannedTask
from orchestrator.recordings.examples import EncodedTask
from orchestrator.tuning.outcomes import Outcomes
from workers.baselines.order import FeatureKeys
from workers.tuning.orders import LaneOrder
from workers.tuning.results.outcome import has_whole_point


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


def with_failed_ordered_again(tasks: Sequence[ReadyTask], outcomes: Outcomes) -> list[ReadyTask]:
    """Return the tasks, with a new attempt for failed lanes without which their task cannot be published."""
    return [replace(task, lanes=_failed_again(task.lanes, outcomes)) for task in tasks]


def _failed_again(lanes: tuple[LaneOrder, ...], known: Outcomes) -> tuple[LaneOrder, ...]:
    outcomes = known.of(lanes)
    failed = {outcome.key for outcome in outcomes if outcome.error is not None}
    if not failed or has_whole_point(outcomes):
        return lanes
    attempt = 1 + max(outcome.attempt for outcome in outcomes)
    # Under halving, whether a lane goes on depends on all other lanes.
    return tuple(
        lane.model_copy(update={"attempt": attempt}) if lane.halving or lane.key in failed else lane for lane in lanes
    )
