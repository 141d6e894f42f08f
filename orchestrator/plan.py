"""The plan of a job: a value that describes all that a job will do, made before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.job import Job
from task_specs.dataset import Dataset
from task_specs.schema import TaskSpec
from task_specs.unlikely import unlikely_settings
from workers.backbone.directory import BackboneDescription
from workers.prompting.prompt import PromptShape, prompt_shape
from workers.unit_lm.kinds import parameter_count

BYTES_PER_NUMBER = 4


@dataclass(frozen=True)
class PlannedTask:
    """A task spec and its examples."""

    spec: TaskSpec
    dataset: Dataset

    @property
    def lanes(self) -> int:
        """Number of prompts to tune."""
        return self.spec.lanes

    def prompt_shapes(self, backbone: BackboneDescription) -> list[PromptShape]:
        """Return the prompt shape on a backbone for each point of the sweep."""
        return [
            prompt_shape(backbone.unit_lm, point.recipe, [len(labels) for labels in self.dataset.labels])
            for point in self.spec.points
        ]


@dataclass(frozen=True)
class Plan:
    """A job that can run.

    Attributes:
        job: the job.
        backbone: description of the backbone.
        tasks: tasks in the order of the job's patterns.
        unheard: why the tracking server does not answer; empty if it does.
    """

    job: Job
    backbone: BackboneDescription
    tasks: tuple[PlannedTask, ...]
    unheard: str = ""

    @property
    def lm_bytes(self) -> int:
        """Size of the frozen LM in bytes (fp32)."""
        return BYTES_PER_NUMBER * parameter_count(self.backbone.unit_lm)

    @property
    def blocks(self) -> list[int]:
        """Numbers of lanes that must run in one gang: all lanes of a task with halving, else 1."""
        halved = [task.lanes for task in self.tasks if task.spec.sweep is not None and task.spec.sweep.halving]
        return halved + [1] * (sum(task.lanes for task in self.tasks) - sum(halved))

    @property
    def notes(self) -> list[str]:
        """Sentences that a user should read although nothing is wrong."""
        notes = [f"{self.unheard}; runs are kept on disk until it answers"] if self.unheard else []
        notes += [f"{task.spec.name}: {note}" for task in self.tasks for note in task.dataset.notes]
        notes += [f"{task.spec.name}: {note}" for task in self.tasks for note in unlikely_settings(task.spec)]
        if self.backbone.prosody is None:
            return notes
        untimed = [task.spec.name for task in self.tasks if task.dataset.untimed]
        unvoiced = [task.spec.name for task in self.tasks if not task.dataset.audio]
        if untimed:
            notes.append(f"{', '.join(untimed)}: units without durations, so this pgslm reads each as one frame")
        if unvoiced:
            notes.append(f"{', '.join(unvoiced)}: units without recordings, so this pgslm reads no pitch")
        return notes
