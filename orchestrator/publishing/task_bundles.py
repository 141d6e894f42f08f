"""The bundles of a job: each task's is published when its last lane is done, while others are still being tuned."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import ray
from ray.exceptions import RayError, RayTaskError

from infra.errors import SpeechPromptError, StorageError
from orchestrator.cluster.failures import cause_of, lost_with_its_worker
from orchestrator.plan import Plan
from orchestrator.plan_checks import task_sections
from orchestrator.progress import ProgressView
from orchestrator.publishing.publisher import Publisher, repair_note
from orchestrator.signing_key import sign_published
from orchestrator.task_state import TaskState
from orchestrator.tuning.outcomes import Outcomes
from workers.bundle.manifest import Data
from workers.bundle.signing import SigningKey
from workers.tuning.results.outcome import read_outcome
from workers.tuning.results.publish_best import PublishOrder
from workers.tuning.results.unit_agreement import UnitAgreement, unit_agreement
from workers.tuning.results.unit_use_file import read_unit_uses


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


class TaskBundles:
    """Publishes the tasks of one submission.

    Args:
        plan: what is done.
        tasks: whose bundles they are; their rows learn what became of them.
        publisher: by which it is done.
        outcomes: of the job's lanes.
        began: the attempt that this submission goes on with.
        signing_key: by which bundles are signed; ``None``: they are not.
        view: where repairs are shown.

    Attributes:
        lost: tasks whose publisher's process ended, again when it was repeated.
    """

    def __init__(
        self,
        plan: Plan,
        tasks: Sequence[TaskState],
        *,
        publisher: Publisher,
        outcomes: Outcomes,
        began: int,
        signing_key: SigningKey | None,
        view: ProgressView,
    ) -> None:
        self._plan, self._tasks, self._publisher, self._view = plan, tasks, publisher, view
        self._outcomes, self._began, self._signing_key = outcomes, began, signing_key
        self.lost: set[str] = set()

    def publish_complete(self, tasks: Collection[str] | None = None) -> None:
        """Start publishing every task whose last lane is done, or those of ``tasks``."""
        for state in self._tasks:
            if state.publishing is not None or not state.lanes or state.encoded is None:
                continue
            if tasks is not None and state.name not in tasks:
                continue
            if all(self._outcomes.has_ended(lane) for lane in state.lanes):
                state.publishing = self._publisher.publish(self._order(state))

    def collect(self) -> None:
        """Wait for all bundles; a task whose bundle is not published, or not signed, has failed."""
        self.publish_complete()
        for state in self._tasks:
            if state.publishing is None:
                continue
            try:
                published = ray.get(state.publishing)
            except RayError as error:
                message = _own_message(error)
                state.fail(message)
                if lost_with_its_worker(message):
                    self.lost.add(state.name)
                continue
            if (note := repair_note(published, again=state.ended_before)) is not None:
                self._view.line(f"{state.name}: {note}")
            try:
                sign_published(published, self._signing_key)
            except SpeechPromptError as error:
                state.fail(f"published as {published.uri}, but not signed: {error}")
                continue
            outcomes = self._outcomes.of(state.lanes)
            if len(outcomes) < len(state.lanes):
                state.fail(
                    f"published as {published.uri}, but outcomes of its lanes were damaged since; run the job again"
                )
                continue
            row = state.row.with_outcomes(outcomes)
            agreement = unit_agreements(self._outcomes.root, row.lanes, state.task.dataset.slots)
            update = {"status": "published", "bundle": published.uri, "error": None, "unit_agreement": agreement}
            state.row = row.model_copy(update=update)
        self._publisher.close()

    def _order(self, state: TaskState) -> PublishOrder:
        spec, job, backbone, encoded = state.task.spec, self._plan.job, self._plan.backbone, state.encoded
        assert encoded is not None  # noqa: S101
        data = Data(
            digest=encoded.examples.digest(),
            examples=encoded.counts(spec.shots),
            shots=spec.shots,
            quarantined=encoded.quarantined,
            long=encoded.long or None,
        )
        return PublishOrder(
            sections=task_sections(spec, job, backbone, data),
            lanes=tuple((lane.key, lane.run_name) for lane in state.lanes),
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
