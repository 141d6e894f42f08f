"""Bundles of a job: each is published when the last lane of its task ends, while other tasks are still being tuned."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError, RayTaskError

from infra.errors import SpeechPromptError
from orchestrator.cluster.failures import cause_of, lost_with_its_worker
from orchestrator.plan import Plan
from orchestrator.plan_checks import task_sections
from orchestrator.progress import ProgressView
from orchestrator.publishing.publisher import Publisher, repair_note
from orchestrator.publishing.seeds import Seeds
from orchestrator.ready_task import ReadyTask
from orchestrator.signing_key import sign_published
from orchestrator.tuning.outcomes import Outcomes
from workers.bundle.manifest import Data
from workers.bundle.publish import Published
from workers.bundle.signing import SigningKey
from workers.tuning.results.outcome import LaneOutcome, best_point
from workers.tuning.results.publish_task import PublishOrder

if TYPE_CHECKING:
    from ray import ObjectRef


@dataclass(frozen=True)
class PublishedTask:
    """A published task.

    Attributes:
        uri: URI of the bundle.
        outcomes: outcomes of all lanes of the task.
        seeds: what the lanes of the best point have to do with each other.
    """

    uri: str
    outcomes: list[LaneOutcome]
    seeds: Seeds


@dataclass(frozen=True)
class PublishedTasks:
    """Results of publishing all tasks.

    Attributes:
        tasks: published tasks, by name.
        failures: why bundles are not published or not signed, by task.
        lost_with_workers: tasks whose publisher's process died, even when repeated.
    """

    tasks: dict[str, PublishedTask]
    failures: dict[str, str]
    lost_with_workers: frozenset[str]


class TaskBundles:
    """Publishes the tasks of a submission.

    Args:
        plan: plan of the job.
        tasks: tasks to publish.
        publisher: actor that publishes.
        outcomes: stored outcomes of the job's lanes.
        began: attempt that this submission continues.
        signing_key: key that signs the bundles; ``None``: they are not signed.
        view: display of repairs.
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
        """Start publishing every task whose lanes have all ended, or only those in ``tasks``."""
        for task in self._tasks:
            if task.name in self._publishing or (tasks is not None and task.name not in tasks):
                continue
            if all(self._outcomes.has_ended(lane) for lane in task.lanes):
                self._publishing[task.name] = self._publisher.publish(self._order(task))

    def collect(self) -> PublishedTasks:
        """Wait for all bundles; a task whose bundle is not published or not signed has failed."""
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
            seeds = Seeds.of(self._outcomes.root, best, task.task.dataset.slots)
            done[task.name] = PublishedTask(published.uri, outcomes, seeds)
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
            together=spec.publish == "ensemble",
            lanes=tuple((lane.key, lane.run_name) for lane in task.lanes),
            outcomes=self._outcomes.root,
            bundles=job.bundles,
            experiment=job.name,
            generation=self._began,
        )


def _own_message(error: RayError) -> str:
    """Return the error of a worker as a sentence, without Ray's traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, SpeechPromptError):
        return str(cause)
    said = cause_of(str(cause))
    return said if lost_with_its_worker(said) else f"{type(cause).__name__}: {cause}"
