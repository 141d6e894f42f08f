"""Who shares a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

from workers.orders import LaneOrder

AUTOMATIC_LANES = 8
"""Lanes of one task that share a pass unless the job says otherwise."""


def form_gangs(lanes: Sequence[LaneOrder], gang: int | Literal["auto"]) -> list[tuple[LaneOrder, ...]]:
    """Group lanes into gangs, in order.

    Args:
        lanes: lanes of all tasks, those of a task together.
        gang: lanes of a gang at most. ``auto`` keeps tasks apart, so that one that fails takes no other along.
    """
    if gang != "auto":
        return _parts(lanes, gang)
    return [
        part
        for _, task in groupby(lanes, key=lambda order: order.spec.task)
        for part in _parts(list(task), AUTOMATIC_LANES)
    ]


def _parts(lanes: Sequence[LaneOrder], size: int) -> list[tuple[LaneOrder, ...]]:
    return [tuple(lanes[start : start + size]) for start in range(0, len(lanes), size)]
