"""How far the lanes of all gangs are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workers.orders import GangOrder


class LaneMeter:
    """Counts optimizer steps of all gangs for the progress display."""

    def __init__(self, orders: Sequence[GangOrder], update: Callable[[int, int, str], None]) -> None:
        self._steps = {order.name: (0, sum(lane.spec.recipe.steps for lane in order.lanes)) for order in orders}
        self._update = update

    def report(self, gang: str, result: dict[str, Any]) -> None:
        """Take the latest report of a gang."""
        self._steps[gang] = (result["lane_steps"], result["lane_steps_planned"])
        done, planned = (sum(counts) for counts in zip(*self._steps.values(), strict=True))
        note = f"{result['lane']} {100 * result['metric']:.1f} % valid" if "lane" in result else ""
        self._update(done, planned, note)
