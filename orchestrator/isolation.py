"""Gangs whose actor failed are dissolved: their tasks go on each in a gang of its own, so that only the culprit fails.

A dissolved gang is remembered beside the gangs of its experiment, and later submissions find its lanes in the
experiment in which they went on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from pydantic import TypeAdapter, ValidationError

from infra.errors import DamagedFile, ObjectNotFound
from workers.job_files import DISSOLVED
from workers.orders import GangOrder, LaneOrder

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
