"""How far the lanes of a gang order are, for the driver and for those who look on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from workers.tuning.orders import GangOrder
from workers.tuning.run.queue import Queue
from workers.tuning.run.status import LaneStatus, Standing
from workers.tuning.step.lane_state import Progress


@dataclass(frozen=True)
class GangReport:
    """What a worker tells the driver of its gang after each step.

    Attributes:
        lane_steps: optimizer steps that all lanes took together.
        lane_steps_planned: those that they take at most.
        lanes_ended: lanes that are over.
        width: lanes that share a pass at most.
        evaluated: whether lanes were evaluated, or none is left; then a checkpoint is worth its while.
        lane: run name of the lane that was evaluated last, if one was.
        metric: its metric on the validation examples.
        loss: its loss on them.
        note: what people should know, in a sentence.
    """

    lane_steps: int
    lane_steps_planned: int
    lanes_ended: int
    width: int
    evaluated: bool
    lane: str | None = None
    metric: float | None = None
    loss: float | None = None
    note: str | None = None


def lane_steps(order: GangOrder, queue: Queue, begun: Mapping[int, Progress]) -> tuple[int, int]:
    """Optimizer steps taken and planned.

    Args:
        order: of the gang.
        queue: its lanes that are not being tuned.
        begun: by number, lanes that have begun and are not over.
    """
    taken = {number: ended.steps for number, ended in queue.ended.items()}
    planned = {number: lane.spec.recipe.steps for number, lane in enumerate(order.lanes)} | taken
    return sum(taken.values()) + sum(progress.step for progress in begun.values()), sum(planned.values())


def lane_statuses(
    order: GangOrder,
    queue: Queue,
    begun: Mapping[int, Progress],
    *,
    running: Collection[int],
    values: Mapping[int, float],
) -> list[LaneStatus]:
    """How far every lane of an order is.

    Args:
        order: of the gang.
        queue: its lanes that are not being tuned.
        begun: by number, lanes that have begun and are not over.
        running: those that are being tuned.
        values: metric of each lane at its last evaluation.
    """
    statuses = []
    for number, lane in enumerate(order.lanes):
        ended = queue.ended.get(number)
        step = begun[number].step if number in begun else 0
        statuses.append(
            LaneStatus(
                lane=lane.run_name,
                task=lane.spec.task,
                state=_standing(number, queue, running),
                step=step if ended is None else ended.steps,
                steps=lane.spec.recipe.steps,
                metric=lane.spec.metric,
                value=values.get(number),
                error=None if ended is None else ended.error,
            )
        )
    return statuses


def _standing(number: int, queue: Queue, running: Collection[int]) -> Standing:
    if number in queue.ended:
        return "ended" if queue.ended[number].error is None else "failed"
    if number in queue.parked:
        return "parked"
    return "tuning" if number in running else "waiting"
