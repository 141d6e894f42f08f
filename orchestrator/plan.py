"""What a job would do: a value that says it all, made before anything is started."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.job import Job
from task_specs.dataset import Dataset
from task_specs.schema import TaskSpec
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
        """Prompts to tune."""
        return self.spec.lanes

    def prompt_shapes(self, backbone: BackboneDescription) -> list[PromptShape]:
        """Sizes of its prompts on a backbone, one for each point of its sweep."""
        return [
            prompt_shape(backbone.unit_lm, point.recipe, [len(labels) for labels in self.dataset.labels])
            for point in self.spec.points
        ]


@dataclass(frozen=True)
class Plan:
    """A job that can run.

    Attributes:
        job: the job.
        backbone: what the backbone says of itself.
        tasks: in the order of the job's patterns.
        unheard: why the tracking server does not answer; empty if it does.
    """

    job: Job
    backbone: BackboneDescription
    tasks: tuple[PlannedTask, ...]
    unheard: str = ""

    @property
    def lm_bytes(self) -> int:
        """Bytes of the frozen LM."""
        return BYTES_PER_NUMBER * parameter_count(self.backbone.unit_lm)

    @property
    def blocks(self) -> list[int]:
        """Sizes of the groups of lanes that cannot be parted: those of a task with halving, and single lanes."""
        halved = [task.lanes for task in self.tasks if task.spec.sweep is not None and task.spec.sweep.halving]
        return halved + [1] * (sum(task.lanes for task in self.tasks) - sum(halved))

    @property
    def notes(self) -> list[str]:
        """What a user should know, though nothing is wrong."""
        notes = [f"{self.unheard}; runs are kept on disk until it answers"] if self.unheard else []
        notes += [f"{task.spec.name}: {note}" for task in self.tasks for note in task.dataset.notes]
        if self.backbone.prosody is None:
            return notes
        untimed = [task.spec.name for task in self.tasks if task.dataset.untimed]
        unvoiced = [task.spec.name for task in self.tasks if not task.dataset.audio]
        if untimed:
            notes.append(f"{', '.join(untimed)}: units without durations, so this pgslm hears each for one frame")
        if unvoiced:
            notes.append(f"{', '.join(unvoiced)}: units without recordings, so this pgslm hears no pitch")
        return notes
