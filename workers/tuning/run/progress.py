"""How far the lanes of a gang order are, for the driver and for those who look on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from workers.tuning.orders import GangOrder
from workers.tuning.run.queue import Queue
from workers.tuning.run.status import LaneStatus, Standing
from workers.tuning.step.lane import Progress


def steps_report(order: GangOrder, queue: Queue, begun: Mapping[int, Progress]) -> dict[str, Any]:
    """Optimizer steps taken and planned.

    Args:
        order: of the gang.
        queue: its lanes that are not being tuned.
        begun: by number, lanes that have begun and are not over.
    """
    taken = {number: ended.steps for number, ended in queue.ended.items()}
    planned = {number: lane.spec.recipe.steps for number, lane in enumerate(order.lanes)} | taken
    planned |= {number: progress.step for number, progress in begun.items() if progress.stopped is not None}
    return {
        "lane_steps": sum(taken.values()) + sum(progress.step for progress in begun.values()),
        "lane_steps_planned": sum(planned.values()),
    }


def lane_statuses(
    order: GangOrder,
    queue: Queue,
    begun: Mapping[int, Progress],
    *,
    seated: Collection[int],
    values: Mapping[int, float],
) -> list[LaneStatus]:
    """How far every lane of an order is.

    Args:
        order: of the gang.
        queue: its lanes that are not being tuned.
        begun: by number, lanes that have begun and are not over.
        seated: those that are being tuned.
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
                state=_standing(number, queue, seated),
                step=step if ended is None else ended.steps,
                steps=lane.spec.recipe.steps,
                metric=lane.spec.metric,
                value=values.get(number),
                error=None if ended is None else ended.error,
            )
        )
    return statuses


def _standing(number: int, queue: Queue, seated: Collection[int]) -> Standing:
    if number in queue.ended:
        return "ended" if queue.ended[number].error is None else "failed"
    if number in queue.parked:
        return "parked"
    return "tuning" if number in seated else "waiting"
