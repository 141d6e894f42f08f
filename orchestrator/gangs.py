"""Who shares a forward pass: the lanes of a job, dealt out to gangs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from infra.errors import ObjectNotFound
from workers.job_files import GANGS
from workers.orders import LaneOrder

LANES_PER_ROW = 4
"""Lanes that follow each other in a row of a pass at most: enough to keep the pass full when lanes stop early, few
enough that Ray Tune can give the next gang to whichever actor is free."""


@dataclass(frozen=True)
class GangPlan:
    """The lanes of one gang.

    Attributes:
        lanes: those to tune; the first ``width`` begin, the others join as lanes leave.
        width: lanes that share a forward pass at most.
    """

    lanes: tuple[LaneOrder, ...]
    width: int


class _StoredGang(BaseModel):
    width: int = Field(ge=1)
    lanes: list[str]


_STORED = TypeAdapter(list[_StoredGang])


def form_gangs(lanes: Sequence[LaneOrder], *, width: int, actors: int) -> list[GangPlan]:
    """Deal out lanes so that every actor has work, and gangs have about equally much.

    The lanes of a task with halving stay together, since they wait for each other.

    Args:
        lanes: lanes of all tasks, those of a task together.
        width: lanes of a pass at most.
        actors: that work at the same time.
    """
    blocks = blocks_of(lanes)
    count = min(len(blocks), max(actors, -(-len(lanes) // (LANES_PER_ROW * width))))
    hands: list[list[LaneOrder]] = [[] for _ in range(count)]
    work = [0] * count
    for block in blocks:
        least = work.index(min(work))
        hands[least] += block
        work[least] += sum(lane.spec.recipe.steps * lane.spec.recipe.batch_size for lane in block)
    return [GangPlan(tuple(hand), min(width, len(hand))) for hand in hands]


def blocks_of(lanes: Sequence[LaneOrder]) -> list[list[LaneOrder]]:
    """Lanes that cannot be parted: those of a task with halving together, every other one by itself."""
    return [
        block
        for (_, halving), task in groupby(lanes, key=lambda lane: (lane.spec.task, lane.halving is not None))
        for block in ([list(task)] if halving else [[lane] for lane in task])
    ]


def useful_width(blocks: Sequence[int], actors: int) -> int:
    """Lanes that a pass can have at most while no actor is idle.

    Args:
        blocks: lanes of each group that cannot be parted.
        actors: that work at the same time.
    """
    return max(1, -(-sum(blocks) // max(1, actors)), *blocks)


def remembered_gangs(place: str, lanes: Sequence[LaneOrder]) -> list[GangPlan] | None:
    """The gangs that an earlier submission formed of the same lanes, so that their checkpoints are found again.

    Raises:
        DamagedFile: what is stored is not what that submission stored.
        StorageError: it cannot be read.
    """
    by_key = {lane.key: lane for lane in lanes}
    try:
        stored = _STORED.validate_json(GANGS.read(place))
        return [GangPlan(tuple(by_key[key] for key in gang.lanes), gang.width) for gang in stored]
    except ObjectNotFound:
        return None
    except (ValidationError, KeyError) as error:
        raise GANGS.damaged(place, "does not hold gangs of these lanes") from error


def remember_gangs(place: str, gangs: Sequence[GangPlan]) -> None:
    """Store the gangs for later submissions."""
    stored = [_StoredGang(width=gang.width, lanes=[lane.key for lane in gang.lanes]) for gang in gangs]
    GANGS.write(place, _STORED.dump_json(stored, indent=1))
