"""A job from recordings to bundles: tokenize, encode, tune on Ray Tune, publish, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray.exceptions import RayError, RayTaskError

from infra import object_storage
from infra.errors import SpeechPromptError
from infra.tracking import Tracking
from orchestrator import __version__
from orchestrator.clips import tokenize_tasks
from orchestrator.cluster import ActorSize, actor_size
from orchestrator.encoding import EncodedTask, encode
from orchestrator.gangs import form_gangs
from orchestrator.lane_meter import LaneMeter
from orchestrator.lanes import lane_orders
from orchestrator.plan import Plan, PlannedTask
from orchestrator.progress import ProgressView
from orchestrator.report import JobReport, TaskRow, job_root, write_report
from orchestrator.schedule import GangWatcher, experiment_name, run_gangs
from orchestrator.spool import spool_directory
from orchestrator.tokenizing import TokenizingReport
from workers.orders import GangOrder, LaneOrder
from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.manifest import BackboneIdentity, Data, Provenance, Task
from workers.bundle.publish import Published
from workers.prompting.outcome import LaneOutcome, read_outcome
from workers.publishing import PublishOrder, publish_task

if TYPE_CHECKING:
    from ray import ObjectRef


@dataclass
class TaskState:
    """A task on its way through the job."""

    task: PlannedTask
    row: TaskRow
    encoded: EncodedTask | None = None
    lanes: list[LaneOrder] = field(default_factory=list)
    publishing: ObjectRef[Published] | None = None

    @property
    def name(self) -> str:
        return self.task.spec.name

    def fail(self, error: str) -> None:
        """The task gets no bundle; the others go on."""
        self.row = self.row.model_copy(update={"status": "failed", "error": error})


class JobRun:
    """One submission of a job.

    Args:
        plan: what to do.
        retry_failed: whether lanes and gangs that failed before are tried again.
        view: where progress is shown.
    """

    def __init__(self, plan: Plan, *, retry_failed: bool, view: ProgressView) -> None:
        self._plan, self._job, self._retry_failed, self._view = plan, plan.job, retry_failed, view
        self._root = job_root(plan.job)
        self._outcomes = object_storage.join(self._root, "lanes")
        self._spool = spool_directory(self._root, plan.job.name)
        self._submitted = datetime.now(UTC)
        self._submission = f"{plan.job.name}/{self._submitted:%Y-%m-%dT%H:%M:%S.%f}"
        self._tasks = [TaskState(task, _row(task)) for task in plan.tasks]
        self._size: ActorSize

    def run(self) -> JobReport:
        """The whole job; a task that fails becomes a row of the report.

        Raises:
            JobError: actors of the wanted size do not fit the cluster.
            BackboneError: the backbone is not what its fingerprints say.
            StorageError: a store the job needs cannot be used.
        """
        self._size = actor_size(self._job.resources)
        self._encode(tokenize_tasks(self._plan, self._view))
        shared = _shared_lm(self._job.backbone)
        with Tracking(self._job.tracking, Path(self._spool)) as tracking:
            parent = tracking.run(
                self._job.name,
                f"submission {self._submitted:%Y-%m-%d %H:%M}",
                key=self._submission,
                params={"tasks": len(self._tasks), "backbone": self._plan.backbone.name, "gang": self._job.gang},
                tags={"speechprompt.kind": "submission"},
            )
            self._tune(shared)
            self._collect_published(shared)
            report = self._report()
            parent.point(0, {"tasks_published": sum(row.status == "published" for row in report.tasks)})
            parent.finish("FINISHED" if report.complete else "FAILED")
            unsent = tracking.close()
        if unsent.events or unsent.refused:
            self._view.line(f"MLflow: {unsent}")
        return report

    def _encode(self, tokenized: TokenizingReport) -> None:
        for state in self._tasks:
            spec, dataset = state.task.spec, state.task.dataset
            try:
                state.encoded = encode(spec, dataset, tokenized.units, self._plan.backbone.prosody)
            except SpeechPromptError as error:
                state.fail(str(error))
                continue
            examples = state.encoded.examples
            place = object_storage.join(self._root, "examples", f"{examples.digest()}.safetensors")
            object_storage.write_if_absent(place, examples.to_bytes())
            state.lanes = lane_orders(
                spec,
                dataset,
                state.encoded,
                examples_uri=place,
                backbone=self._plan.backbone,
                precision=self._job.precision,
            )
            counts = {split: len(part) for split, part in examples.splits.items()}
            state.row = state.row.model_copy(
                update={
                    "majority": state.encoded.majority,
                    "quarantined": state.encoded.quarantined,
                    "examples": counts,
                }
            )

    def _tune(self, shared: ObjectRef[SharedLM]) -> None:
        lanes = [lane for state in self._tasks for lane in state.lanes]
        orders = [
            GangOrder(
                name=_gang_name(number, gang),
                lanes=gang,
                precision=self._job.precision,
                cpus=self._size.cpus,
                outcomes=self._outcomes,
                experiment=self._job.name,
                parent_key=self._submission,
                tracking=self._job.tracking,
                spool=self._spool,
            )
            for number, gang in enumerate(form_gangs(lanes, self._job.gang))
        ]
        to_do = [order for order in orders if not all(self._is_finished(lane) for lane in order.lanes)]
        for state in self._tasks:
            self._publish_if_complete(state, shared)
        if not to_do:
            self._view.line("tuning: every lane has finished before")
            return
        with self._view.stage("tuning") as stage:
            meter = LaneMeter(to_do, stage.update)

            def on_end(gang: str) -> None:
                tasks = {lane.spec.task for order in to_do if order.name == gang for lane in order.lanes}
                for state in self._tasks:
                    if state.name in tasks:
                        self._publish_if_complete(state, shared)

            failures = run_gangs(
                to_do,
                name=experiment_name(orders),
                root=self._root,
                shared=shared,
                size=self._size,
                retry_failed=self._retry_failed,
                watcher=GangWatcher(on_report=meter.report, on_end=on_end),
            )
        for order in to_do:
            if order.name in failures:
                for state in self._tasks:
                    if any(lane.spec.task == state.name for lane in order.lanes):
                        state.fail(failures[order.name])

    def _is_finished(self, lane: LaneOrder) -> bool:
        outcome = read_outcome(self._outcomes, lane.key)
        return outcome is not None and not (self._retry_failed and outcome.error)

    def _publish_if_complete(self, state: TaskState, shared: ObjectRef[SharedLM]) -> None:
        """Start publishing a task as soon as its last lane is done."""
        if state.publishing is not None or not state.lanes or state.encoded is None:
            return
        if all(read_outcome(self._outcomes, lane.key) is not None for lane in state.lanes):
            state.publishing = _publish.remote(self._publish_order(state), shared)

    def _publish_order(self, state: TaskState) -> PublishOrder:
        spec, backbone, encoded = state.task.spec, self._plan.backbone, state.encoded
        assert encoded is not None  # noqa: S101
        return PublishOrder(
            task=Task(name=spec.name, family=spec.family, language=spec.language),
            backbone=BackboneIdentity(
                name=backbone.name,
                unit_lm=backbone.fingerprints.unit_lm,
                tokenizer=backbone.fingerprints.tokenizer,
            ),
            preprocessing={"audio": spec.audio.model_dump(mode="json")},
            data=Data(
                digest=encoded.examples.digest(),
                examples={split: len(part) for split, part in encoded.examples.splits.items()},
                quarantined=encoded.quarantined,
            ),
            provenance=Provenance(
                created=datetime.now(UTC),
                code_version=__version__,
                experiment=self._job.name,
                backbone_uri=self._job.backbone,
            ),
            lanes=tuple((lane.key, lane.run_name) for lane in state.lanes),
            outcomes=self._outcomes,
            bundles=self._job.bundles,
            experiment=self._job.name,
            tracking=self._job.tracking,
            spool=self._spool,
        )

    def _collect_published(self, shared: ObjectRef[SharedLM]) -> None:
        for state in self._tasks:
            self._publish_if_complete(state, shared)
            if state.publishing is None:
                continue
            try:
                published = ray.get(state.publishing)
            except RayError as error:
                state.fail(_own_message(error))
                continue
            outcomes = self._lane_outcomes(state.lanes)
            state.row = state.row.with_outcomes(outcomes).model_copy(
                update={"status": "published", "bundle": published.uri, "error": None}
            )

    def _lane_outcomes(self, lanes: Sequence[LaneOrder]) -> list[LaneOutcome]:
        found = [read_outcome(self._outcomes, lane.key) for lane in lanes]
        return [outcome for outcome in found if outcome is not None]

    def _report(self) -> JobReport:
        report = JobReport(
            job=self._job.name, backbone=self._plan.backbone.name, tasks=[state.row for state in self._tasks]
        )
        write_report(self._job, report)
        return report


def _shared_lm(backbone: str) -> ObjectRef[SharedLM]:
    """The LM in the object store.

    Raises:
        BackboneError, StorageError: it cannot be read, or is not what its fingerprints say.
    """
    # Two references, which Ray's stub does not know.
    references: Any = _load_shared.remote(backbone)
    fingerprint, shared = references
    try:
        # The small one of the two values comes home with the error, if there is one.
        ray.get(fingerprint)
    except RayTaskError as error:
        raise error.cause from error
    return cast("ObjectRef[SharedLM]", shared)


@ray.remote(num_cpus=0, num_returns=2)
def _load_shared(uri: str) -> tuple[str, SharedLM]:
    """The LM for the object store, read by a worker so that the driver holds no tensors."""
    shared = SharedLM.of(read_backbone(uri))
    return shared.fingerprint, shared


@ray.remote(num_cpus=0)
def _publish(order: PublishOrder, shared: SharedLM) -> Published:
    return publish_task(order, shared)


def _own_message(error: RayError) -> str:
    """What went wrong in a worker, without Ray's traceback."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return str(cause) if isinstance(cause, SpeechPromptError) else f"{type(cause).__name__}: {cause}"


def _gang_name(number: int, gang: Sequence[LaneOrder]) -> str:
    tasks = list(dict.fromkeys(lane.spec.task for lane in gang))
    more = f"+{len(tasks) - 1}" if len(tasks) > 1 else ""
    return f"gang{number:03d}-{tasks[0]}{more}"


def _row(task: PlannedTask) -> TaskRow:
    spec = task.spec
    return TaskRow(
        task=spec.name,
        family=spec.family,
        language=spec.language,
        classes="x".join(str(len(labels)) for labels in task.dataset.labels),
        metric=spec.metric,
    )
