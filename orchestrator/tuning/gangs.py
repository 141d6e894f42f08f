"""Who shares a forward pass: the lanes of a job, dealt out to gangs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from infra.errors import DamagedFile, ObjectNotFound
from workers.job_store.files import DISSOLVED, GANGS
from workers.tuning.orders import GangOrder, LaneOrder

_BATCHES = TypeAdapter(list[list[str]])


class DissolvedGangs:
    """Names of the gangs of one experiment that were dissolved, in batches that became experiments of their own.

    Args:
        place: file that keeps them.
        say: called with the reason where it is damaged, and nothing is known of them.

    Raises:
        StorageError: the file cannot be read.
    """

    def __init__(self, place: str, say: Callable[[str], None]) -> None:
        self._place = place
        self.batches: list[list[str]] = []
        try:
            self.batches = _BATCHES.validate_json(DISSOLVED.read(place))
        except ObjectNotFound:
            pass
        except DamagedFile as error:
            say(str(error))
        except ValidationError:
            say(str(DISSOLVED.damaged(place, "does not hold names of gangs")))

    def __contains__(self, gang: str) -> bool:
        return any(gang in batch for batch in self.batches)

    def add(self, gangs: Sequence[str]) -> None:
        """Remember another batch."""
        self.batches.append(list(gangs))
        DISSOLVED.write(self._place, _BATCHES.dump_json(self.batches))


def several_tasks(order: GangOrder) -> bool:
    """Whether a gang can be dissolved."""
    return len({lane.spec.task for lane in order.lanes}) > 1


def single_task_orders(order: GangOrder, *, checkpoints: str, ended: Iterable[str]) -> list[GangOrder]:
    """The tasks of a dissolved gang that have not ended, each in a gang of its own.

    Args:
        order: of the dissolved gang.
        checkpoints: directory in which it left them.
        ended: keys of its lanes that have.
    """
    over = set(ended)
    orders = []
    for task, lanes in groupby(sorted(order.lanes, key=_task), key=_task):
        together = list(lanes)
        left = [lane for lane in together if lane.key not in over]
        if not left:
            continue
        # Under halving a lane goes on or not by comparison with all others.
        chosen = tuple(together if together[0].halving is not None else left)
        name = f"{order.name.partition('-')[0]}-alone-{task}"
        update = {"name": name, "lanes": chosen, "width": min(order.width, len(chosen)), "began_in": checkpoints}
        orders.append(order.model_copy(update=update))
    return orders


def _task(lane: LaneOrder) -> str:
    return lane.spec.task


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
