"""Making of a plan: reads a job with everything it names, and reports all problems at once."""

from __future__ import annotations

from collections.abc import Sequence

from infra import object_storage
from infra.errors import InvalidInputs, Problem, SpeechPromptError, TrackingUnreachable
from infra.tracking import check
from orchestrator.cluster.ray_place import ray_problems
from orchestrator.job import InvalidJob, load_job
from orchestrator.plan import Plan, PlannedTask
from orchestrator.plan_checks import pinned, unpublishable, unusable_places
from orchestrator.signing_key import SIGNING_KEY, signing_key
from task_specs.dataset import read_dataset
from task_specs.problems import shown
from task_specs.schema import load_task_specs
from workers.backbone.directory import BackboneDescription, read_description
from workers.prompting.objectives.kinds import one_unit_a_class
from workers.speech.f0 import load_yaapt

MAX_LANES = 100_000
"""Largest number of lanes of a job."""


def make_plan(path: str, overrides: Sequence[str] = ()) -> Plan:
    """Read a job and everything it names, and check it.

    Raises:
        InvalidInputs: there are problems with the job file, the backbone, the task specs, their data, Ray, or the
            signing key; it lists all of them.
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
        message = f"{lanes:,} prompts are too many for one job, which tunes at most {MAX_LANES:,}"
        raise InvalidInputs([*problems, Problem(shown(job.source), "tasks", message, "use fewer tasks or seeds")])
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
            # Each task may repeat a problem of the job.
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
    """Return why a task cannot run on this backbone."""
    spec, dataset = task.spec, task.dataset
    units = len(backbone.unit_tokens)
    problems = []
    if dataset.audio and backbone.tokenizer.get("kind") == "external":
        problems.append(
            Problem(
                shown(spec.source),
                "data",
                f"has audio, but backbone {backbone.name!r} comes without its tokenizer",
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
    if most > units and any(map(one_unit_a_class, recipes)):
        problems.append(
            Problem(
                shown(spec.source),
                "recipe",
                f"gives every class a unit of its own, but there are {most} classes and {units} units",
                "use recipe 'default' with verbalizer 'linear'",
            )
        )
    return problems
