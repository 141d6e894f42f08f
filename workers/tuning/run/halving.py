"""Successive halving among the lanes of one gang order: which points of a sweep go on at each rung.

All lanes of a point share its fate: points are compared by the mean over their seeds, and the spread over seeds of a
point that is published is always that of all its seeds. The verdict at a rung depends on what each lane reached by
that step and on nothing else: not on who shared a pass with whom, nor on when a lane got there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from task_specs.sweep import Halving
from workers.tuning.orders import LaneOrder

Score = tuple[float, float]
"""What lanes select by: the metric, negative if lower is better, then the negative loss."""

LOST: Score = (-math.inf, -math.inf)
"""Of a lane that diverged or failed."""


class HalvingBoard(BaseModel):
    """The state of one task's sweep.

    Attributes:
        halving: its settings.
        steps: optimizer step of each rung.
        lanes: numbers of the lanes of each point that is still in, in the order of the sweep.
        rung: the next one.
    """

    halving: Halving
    steps: list[int]
    lanes: dict[str, list[int]]
    rung: int = 0

    @classmethod
    def of(cls, orders: Sequence[LaneOrder], order: LaneOrder, evaluate_every: int) -> HalvingBoard:
        """The board of a sweep that begins.

        Args:
            orders: lanes of a gang, all those of the sweep among them.
            order: a lane of the sweep.
            evaluate_every: optimizer steps between its evaluations.
        """
        assert order.halving is not None  # noqa: S101
        lanes: dict[str, list[int]] = {}
        for number, other in enumerate(orders):
            if other.spec.task == order.spec.task:
                lanes.setdefault(other.point, []).append(number)
        steps = order.halving.steps(order.spec.recipe.steps, evaluate_every)
        return cls(halving=order.halving, steps=steps, lanes=lanes)

    @property
    def members(self) -> list[int]:
        """Numbers of the lanes that are still in."""
        return [number for numbers in self.lanes.values() for number in numbers]

    def waits_at(self, step: int) -> bool:
        """Whether a lane that was evaluated at this step waits for the verdict."""
        return self.rung < len(self.steps) and step >= self.steps[self.rung]

    def judge(self, scores: Mapping[int, Score]) -> list[int]:
        """Pass the rung.

        Args:
            scores: of every lane that is still in.

        Returns:
            The lanes that are dropped.
        """
        kept = self.halving.kept(len(self.lanes))
        ranked = sorted(self.lanes, key=lambda point: _mean([scores[lane] for lane in self.lanes[point]]), reverse=True)
        dropped = [lane for point in ranked[kept:] for lane in self.lanes[point]]
        self.lanes = {point: lanes for point, lanes in self.lanes.items() if point in ranked[:kept]}
        self.rung += 1
        return dropped


def _mean(scores: Sequence[Score]) -> Score:
    if LOST in scores:
        return LOST
    return statistics.fmean(metric for metric, _ in scores), statistics.fmean(loss for _, loss in scores)
