"""How far the lanes of all gangs are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from workers.orders import GangOrder


class LaneMeter:
    """Counts optimizer steps of all gangs for the progress display.

    Args:
        orders: of the gangs.
        update: called with steps taken, steps planned and the latest figure.
        say: called with what people should know of a gang.
    """

    def __init__(
        self, orders: Sequence[GangOrder], update: Callable[[int, int, str], None], say: Callable[[str], None]
    ) -> None:
        self._widths = {order.name: order.width for order in orders}
        self._say = say
        self._steps = {order.name: (0, sum(lane.spec.recipe.steps for lane in order.lanes)) for order in orders}
        self._update = update
        self._note = ""

    def replace(self, gang: str, orders: Sequence[GangOrder]) -> None:
        """Lanes of a gang go on in others."""
        self._steps.pop(gang, None)
        self._steps |= {order.name: (0, sum(lane.spec.recipe.steps for lane in order.lanes)) for order in orders}
        self._widths |= {order.name: order.width for order in orders}

    def report(self, gang: str, result: dict[str, Any]) -> None:
        """Take the latest report of a gang."""
        self._steps[gang] = (result["lane_steps"], result["lane_steps_planned"])
        if result["width"] < self._widths[gang]:
            self._say(
                f"{gang}: out of memory with {self._widths[gang]} lanes in a pass; it goes on with {result['width']}"
            )
        self._widths[gang] = result["width"]
        if "note" in result:
            self._say(f"{gang}: {result['note']}")
        done, planned = (sum(counts) for counts in zip(*self._steps.values(), strict=True))
        if "lane" in result:
            self._note = f"{result['lane']} {100 * result['metric']:.1f} % valid"
        self._update(done, planned, self._note)
