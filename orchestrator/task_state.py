"""A task on its way through a job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.redaction import redacted
from orchestrator.plan import PlannedTask
from orchestrator.recordings.examples import EncodedTask
from orchestrator.report import TaskRow
from workers.bundle.publish import Published
from workers.tuning.orders import LaneOrder

if TYPE_CHECKING:
    from ray import ObjectRef


@dataclass
class TaskState:
    """How far a task is.

    Attributes:
        task: what was planned.
        row: its row of the report, as far as it is known.
        encoded: its examples; ``None`` until they are there, and if it has none.
        lanes: what is tuned.
        ended_before: whether all of them had ended before this submission.
        publishing: its bundle, once all have ended.
    """

    task: PlannedTask
    row: TaskRow
    encoded: EncodedTask | None = None
    lanes: list[LaneOrder] = field(default_factory=list)
    ended_before: bool = False
    publishing: ObjectRef[Published] | None = None

    @classmethod
    def of(cls, task: PlannedTask) -> TaskState:
        """Of one that has not begun."""
        spec = task.spec
        row = TaskRow(
            task=spec.name,
            family=spec.family,
            language=spec.language,
            classes="x".join(str(len(labels)) for labels in task.dataset.labels),
            metric=spec.metric,
            positive=spec.positive,
            recipe=spec.recipe.name,
            published=spec.published_result,
            long_policy=spec.audio.too_long,
            shots=spec.shots,
        )
        return cls(task, row)

    @property
    def name(self) -> str:
        return self.task.spec.name

    def fail(self, error: str) -> None:
        """The task gets no bundle; the others go on."""
        self.row = self.row.model_copy(update={"status": "failed", "error": redacted(error)})
