"""The bundles of a job: each task's is published when its last lane is done, while others are still being tuned."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError, RayTaskError

from infra.errors import SpeechPromptError, StorageError
from orchestrator.cluster.failures import cause_of, lost_with_its_worker
from orchestrator.plan import Plan
from orchestrator.plan_checks import task_sections
from orchestrator.progress import ProgressView
from orchestrator.publishing.publisher import Publisher, repair_note
from orchestrator.ready_task import ReadyTask
from orchestrator.signing_key import sign_published
from orchestrator.tuning.outcomes import Outcomes
from workers.bundle.manifest import Data
from workers.bundle.publish import Published
from workers.bundle.signing import SigningKey
from workers.tuning.results.outcome import LaneOutcome, best_point, read_outcome
from workers.tuning.results.publish_best import PublishOrder
from workers.tuning.results.unit_agreement import UnitAgreement, unit_agreement
from workers.tuning.results.unit_use_file import read_unit_uses

if TYPE_CHECKING:
    from ray import ObjectRef


def unit_agreements(outcomes: str, lanes: Sequence[str], slots: Sequence[str]) -> dict[str, UnitAgreement]:
    """Of each slot of a task; none for a single seed, or where verbalizers are not linear.

    Args:
        outcomes: where lanes left their outcomes.
        lanes: keys of those to compare, one a seed.
        slots: names of the task's slots.

    Raises:
        StorageError: what a lane left cannot be read.
    """
    if len(lanes) == 1:
        return {}
    try:
        found = ray.get(_compare.remote(outcomes, list(lanes)))
    except RayTaskError as error:
        if isinstance(error.cause, StorageError):
            raise error.cause from error
        raise
    return {name: part for name, part in zip(slots, found, strict=False) if part is not None}


@ray.remote(num_cpus=0)
def _compare(outcomes: str, lanes: list[str]) -> list[UnitAgreement | None]:
    found = [outcome for lane in lanes if (outcome := read_outcome(outcomes, lane)) is not None]
    uses = read_unit_uses(outcomes, found)
    return [unit_agreement(slot) for slot in zip(*(use.slots for use in uses), strict=True)]


@dataclass(frozen=True)
class PublishedTask:
    """A task whose bundle is published.

    Attributes:
        uri: of the bundle.
        outcomes: of all its lanes.
        unit_agreement: as ``unit_agreements`` returns it, of the lanes of the best point.
    """

    uri: str
    outcomes: list[LaneOutcome]
    unit_agreement: dict[str, UnitAgreement]


@dataclass(frozen=True)
class PublishedTasks:
    """What became of all bundles.

    Attributes:
        tasks: those that are published, by name.
        failures: by task, why its bundle is not published, or not signed.
        lost_with_workers: tasks whose publisher's process ended, again when it was repeated.
    """

    tasks: dict[str, PublishedTask]
    failures: dict[str, str]
    lost_with_workers: frozenset[str]


class TaskBundles:
    """Publishes the tasks of one submission.

    Args:
        plan: what is done.
        tasks: whose bundles they are.
        publisher: by which it is done.
        outcomes: of the job's lanes.
        began: the attempt that this submission goes on with.
        signing_key: by which bundles are signed; ``None``: they are not.
        view: where repairs are shown.
    """

    def __init__(
        self,
        plan: Plan,
        tasks: Sequence[ReadyTask],
        *,
        publisher: Publisher,
        outcomes: Outcomes,
        began: int,
        signing_key: SigningKey | None,
        view: ProgressView,
    ) -> None:
        self._plan, self._tasks, self._publisher, self._view = plan, tasks, publisher, view
        self._outcomes, self._began, self._signing_key = outcomes, began, signing_key
        self._publishing: dict[str, ObjectRef[Published]] = {}

    def publish_complete(self, tasks: Collection[str] | None = None) -> None:
        """Start publishing every task whose last lane is done, or those of ``tasks``."""
        for task in self._tasks:
            if task.name in self._publishing or (tasks is not None and task.name not in tasks):
                continue
            if all(self._outcomes.has_ended(lane) for lane in task.lanes):
                self._publishing[task.name] = self._publisher.publish(self._order(task))

    def collect(self) -> PublishedTasks:
        """Wait for all bundles; a task whose bundle is not published, or not signed, has failed."""
        self.publish_complete()
        done: dict[str, PublishedTask] = {}
        failures: dict[str, str] = {}
        lost = set()
        for task in self._tasks:
            if task.name not in self._publishing:
                continue
            try:
                published = ray.get(self._publishing[task.name])
            except RayError as error:
                failures[task.name] = _own_message(error)
                if lost_with_its_worker(failures[task.name]):
                    lost.add(task.name)
                continue
            if (note := repair_note(published, again=task.ended_before)) is not None:
                self._view.line(f"{task.name}: {note}")
            try:
                sign_published(published, self._signing_key)
            except SpeechPromptError as error:
                failures[task.name] = f"published as {published.uri}, but not signed: {error}"
                continue
            outcomes = self._outcomes.of(task.lanes)
            if len(outcomes) < len(task.lanes):
                failures[task.name] = (
                    f"published as {published.uri}, but outcomes of its lanes were damaged since; run the job again"
                )
                continue
            best = [outcome.key for outcome in best_point(outcomes)]
            agreement = unit_agreements(self._outcomes.root, best, task.task.dataset.slots)
            done[task.name] = PublishedTask(published.uri, outcomes, agreement)
        self._publisher.close()
        return PublishedTasks(done, failures, frozenset(lost))

    def _order(self, task: ReadyTask) -> PublishOrder:
        spec, job, backbone, encoded = task.task.spec, self._plan.job, self._plan.backbone, task.encoded
        data = Data(
            digest=encoded.examples.digest(),
            examples=encoded.counts(spec.shots),
            shots=spec.shots,
            quarantined=encoded.quarantined,
            long=encoded.long or None,
        )
        return PublishOrder(
            sections=task_sections(spec, job, backbone, data),
            lanes=tuple((lane.key, lane.run_name) for lane in task.lanes),
            outcomes=self._outcomes.root,
            bundles=job.bundles,
            experiment=job.name,
            generation=self._began,
        )


def _own_message(error: RayError) -> str:
    """What went wrong in a worker, without Ray's traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, SpeechPromptError):
        return str(cause)
    said = cause_of(str(cause))
    return said if lost_with_its_worker(said) else f"{type(cause).__name__}: {cause}"
