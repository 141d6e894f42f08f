"""What a job would do, found out without starting anything; and everything that is wrong with it, at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra import object_storage
from infra.errors import InvalidInputs, Problem, SpeechPromptError, TrackingUnreachable
from infra.tracking import check
from orchestrator.cluster.ray_place import ray_problems
from orchestrator.job import InvalidJob, Job, load_job
from orchestrator.plan_checks import pinned, unpublishable, unusable_places
from orchestrator.signing_key import SIGNING_KEY, signing_key
from task_specs.dataset import Dataset, read_dataset
from task_specs.problems import shown
from task_specs.schema import TaskSpec, load_task_specs
from workers.backbone.directory import BackboneDescription, read_description
from workers.prompting.prompt import PromptShape, prompt_shape
from workers.speech.f0 import load_yaapt
from workers.unit_lm.kinds import parameter_count

BYTES_PER_NUMBER = 4
MAX_LANES = 100_000
"""Of one job."""


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


def make_plan(path: str, overrides: Sequence[str] = ()) -> Plan:
    """Read a job with everything it names.

    Raises:
        InvalidInputs: every problem of the job file, the backbone, the task specs and their manifests, of the Ray that
            would run it, and of the key by which bundles are to be signed.
    """
    problems: list[Problem] = []
    try:
        job = load_job(path, overrides)
    except InvalidJob as error:
        problems += error.problems
        if error.rest is None:
            raise
        job = error.rest
    problems += unusable_places(job)
    specs, wrong = load_task_specs(job.tasks, object_storage.parent(job.source), named_in=job.source)
    problems += wrong
    if (lanes := sum(spec.lanes for spec in specs)) > MAX_LANES:
        message = f"{lanes:,} prompts are to be tuned, and a job has at most {MAX_LANES:,}"
        raise InvalidInputs([*problems, Problem(shown(job.source), "tasks", message, "give fewer tasks, or seeds")])
    backbone: BackboneDescription | None = None
    if job.backbone:
        try:
            backbone = read_description(job.backbone)
        except SpeechPromptError as error:
            problems.append(Problem.of(shown(job.source), "backbone", error))
    unheard = ""
    try:
        check(job.tracking, experiment=job.name)
    except TrackingUnreachable as error:
        unheard = str(error)
    except SpeechPromptError as error:
        problems.append(Problem.of(shown(job.source), "tracking", error))
    problems += ray_problems()
    try:
        signing_key()
    except SpeechPromptError as error:
        problems.append(Problem.of(SIGNING_KEY, "", error))
    tasks = []
    for spec in specs:
        try:
            task = PlannedTask(spec, read_dataset(spec))
        except InvalidInputs as error:
            problems += error.problems
            continue
        except SpeechPromptError as error:
            problems.append(Problem.of(shown(spec.source), "data", error))
            continue
        if backbone is not None:
            spec, wrong = pinned(spec, backbone)
            task = PlannedTask(spec, task.dataset)
            wrong += _misfits(task, backbone)
            if not wrong:
                wrong = unpublishable(spec, task.dataset, job, backbone)
            # What is wrong with the job may be wrong for every task of it.
            problems += [problem for problem in wrong if problem not in problems]
        tasks.append(task)
    if backbone is not None and backbone.prosody is not None and any(task.dataset.audio for task in tasks):
        try:
            load_yaapt()
        except SpeechPromptError as error:
            problems.append(Problem.of(shown(job.source), "backbone", error))
    if problems or backbone is None:
        raise InvalidInputs(problems)
    return Plan(job, backbone, tuple(tasks), unheard)


def _misfits(task: PlannedTask, backbone: BackboneDescription) -> list[Problem]:
    """What keeps a task from this backbone."""
    spec, dataset = task.spec, task.dataset
    units = len(backbone.unit_tokens)
    problems = []
    if dataset.audio and backbone.tokenizer.get("kind") == "external":
        problems.append(
            Problem(
                shown(spec.source),
                "data",
                f"has audio, but the tokenizer of backbone {backbone.name!r} is not at hand",
                "give units instead, or use a backbone with a tokenizer",
            )
        )
    if dataset.highest_unit is not None and dataset.highest_unit >= units:
        problems.append(
            Problem(
                shown(spec.source),
                "data",
                f"holds unit {dataset.highest_unit}, but the backbone has units 0 to {units - 1}",
                "use units of the backbone's own tokenizer",
            )
        )
    most = max(len(labels) for labels in dataset.labels)
    recipes = [point.recipe for point in spec.points]
    if most > units and any(recipe.verbalizer != "linear" or recipe.loss == "paper" for recipe in recipes):
        problems.append(
            Problem(
                shown(spec.source),
                "recipe",
                f"gives every class a unit of its own, but there are {most} classes and {units} units",
                "use recipe 'default' with verbalizer 'linear'",
            )
        )
    return problems
