"""What runs gangs, whichever part of Ray does, and which of their failures later submissions know of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra import object_storage
from infra.errors import FrozenWeightsChanged, StorageError
from orchestrator.cluster.failures import cause_of, lost_with_its_node, lost_with_its_worker, place_refused
from orchestrator.cluster.session import ActorSize
from orchestrator.job_files import note_failure, noted_failure
from orchestrator.tuning.gangs import several_tasks
from workers.tuning.orders import GangOrder
from workers.tuning.run.progress import GangReport

if TYPE_CHECKING:
    from ray import ObjectRef

    from workers.backbone.sharing import SharedLM

RETRY = "then take it up again with --retry-failed"


@dataclass(frozen=True)
class GangFailure:
    """Why a gang failed.

    Attributes:
        cause: in a sentence.
        of_a_task: whether one of its tasks may be to blame, and the others go well without it.
        lasting: whether later submissions leave it at that.
        worker_ended: whether it is that of a worker's process or machine, which ended without saying why.
    """

    cause: str
    of_a_task: bool
    lasting: bool = True
    worker_ended: bool = False

    @classmethod
    def of(cls, said: str) -> GangFailure:
        """Of what Ray says of it: the end of a traceback, or what became of an actor.

        A machine that is lost says nothing of the gang, so that the next submission takes it up again. All else lasts:
        it would most likely happen again.
        """
        lost = lost_with_its_node(said)
        cause = cause_of(said) or "its actor failed; see Ray's logs"
        died = not lost and lost_with_its_worker(cause)
        # Whoever attaches the same weights again finds them changed too.
        changed = f"{FrozenWeightsChanged.__module__}.{FrozenWeightsChanged.__name__}:" in said
        return cls(
            f"{cause}; {RETRY}" if died else cause,
            of_a_task=not changed and not lost,
            lasting=not lost,
            worker_ended=lost or died,
        )

    @classmethod
    def noted(cls, cause: str) -> GangFailure:
        """Of an earlier submission, which dissolved the gang if that was of use."""
        return cls(cause, of_a_task=False, worker_ended=lost_with_its_worker(cause))


@dataclass(frozen=True)
class GangListener:
    """Hears how gangs fare, each by its name.

    Attributes:
        on_report: called with the latest report of a gang.
        on_lanes_ended: called when lanes of a gang have ended, whichever way.
        on_recovery: called when a gang goes on from its last checkpoint, and why.
    """

    on_report: Callable[[str, GangReport], None]
    on_lanes_ended: Callable[[str], None]
    on_recovery: Callable[[str, str], None]


@dataclass(frozen=True)
class Workplace:
    """Where gangs run.

    Attributes:
        name: of the experiment, by which a later submission finds its checkpoints.
        root: directory of the job, local or S3.
        shared: the LM in the object store.
        size: of actors.
    """

    name: str
    root: str
    shared: ObjectRef[SharedLM]
    size: ActorSize


class GangRunner(ABC):
    """Runs gangs until each is over; one that began before goes on from its checkpoints.

    Args:
        place: where they run.
        retry_failed: whether gangs that failed before are taken up again.
    """

    def __init__(self, place: Workplace, *, retry_failed: bool) -> None:
        self.place, self._retry_failed = place, retry_failed

    def run(self, orders: Sequence[GangOrder], listener: GangListener) -> dict[str, GangFailure]:
        """Tune gangs.

        Args:
            orders: what to tune.
            listener: hears how they fare.

        Returns:
            By name of each gang that failed, why.

        Raises:
            StorageError: a disk did not take what a worker wrote.
            JobInterrupted: the job was asked to end; gangs that ran have saved themselves, if they had the time.
        """
        failures = self._failed_before(orders)
        to_do = {order.name: order for order in orders if order.name not in failures}
        if not to_do:
            return failures
        for name, said in self._carry_out(list(to_do.values()), listener):
            # No gang is to blame, and none would get further.
            if (refused := place_refused(said)) is not None:
                raise StorageError(refused)
            failures[name] = failure = GangFailure.of(said)
            # What is dissolved goes on in other gangs, whose failures are noted.
            if failure.lasting and not (failure.of_a_task and several_tasks(to_do[name])):
                note_failure(self.directory(name), failure.cause)
        return failures

    def _failed_before(self, orders: Collection[GangOrder]) -> dict[str, GangFailure]:
        causes = {order.name: noted_failure(self.directory(order.name)) for order in orders}
        failures = {name: GangFailure.noted(cause) for name, cause in causes.items() if cause is not None}
        if not self._retry_failed:
            return failures
        for name in failures:
            note_failure(self.directory(name), None)
        return {}

    @abstractmethod
    def directory(self, gang: str) -> str:
        """Where a gang keeps its checkpoints."""

    @abstractmethod
    def _carry_out(self, orders: Sequence[GangOrder], listener: GangListener) -> Iterator[tuple[str, str]]:
        """Tune gangs; gives the name of each that fails, and what Ray says of it."""

    def _below_root(self, *names: str) -> str:
        return object_storage.join(self.place.root, *names)
