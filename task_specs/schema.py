"""The task spec, a YAML file that defines a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
)

from infra.errors import Problem
from task_specs.audio_policy import AudioPolicy
from task_specs.field_types import MOST_EXAMPLES, Slug
from task_specs.file_kinds import mistaken
from task_specs.file_patterns import find_files
from task_specs.label import OneLine
from task_specs.metric import METRICS, MetricName, Resampled
from task_specs.packaged import base_of
from task_specs.problems import ProblemList, shown
from task_specs.prompt_init import BundleInit
from task_specs.published import PublishedResult, published_figures
from task_specs.readers import READERS, Reader
from task_specs.recipe import Recipe
from task_specs.sweep import MAX_LANES, Halving, Point, Sweep
from task_specs.validation import Models, described, fault, problems_of, suggestion
from task_specs.yaml_file import FileModel, read_yaml

MAX_SEEDS = 100
MAX_TASKS = 10_000
"""Most tasks of a job."""


def _reader(value: Any, info: ValidationInfo) -> Any:
    """Validate a ``data`` section with the model of the reader that it names."""
    if not isinstance(value, dict):
        return value
    name = value.get("reader", "manifest")
    if not isinstance(name, str) or name not in READERS:
        raise fault(f"there is no reader {described(name)}", suggestion(str(name), list(READERS)))
    return READERS[name].model_validate(value, context=info.context)


def _recipe(value: Any, info: ValidationInfo) -> Any:
    return Recipe.from_spec(value, context=info.context) if isinstance(value, str | dict) else value


def _seeds(value: Any) -> Any:
    """Expand a number of seeds: ``3`` stands for 0, 1 and 2."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_SEEDS:
            raise fault(f"{value} seeds cannot be used", f"give 1 to {MAX_SEEDS}, or a list of seeds")
        return tuple(range(value))
    if not isinstance(value, list | tuple):
        raise fault(f"must be a number of seeds or a list of seeds, not {described(value)}", "write 3 or [0, 1, 2]")
    return tuple(value)


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise fault("holds a seed twice", "remove one of them")
    return seeds


def _readable_points(sweep: Sweep | None, info: ValidationInfo) -> Sweep | None:
    if sweep is not None and "recipe" in info.data:
        for point in sweep.points(info.data["recipe"]):
            point.recipe.require_readable()
    return sweep


def _few_lanes(sweep: Sweep | None, info: ValidationInfo) -> Sweep | None:
    if sweep is not None and {"seeds", "recipe"} <= info.data.keys():
        points, seeds = sweep.size, len(info.data["seeds"])
        if points * seeds > MAX_LANES:
            message = f"{points} points with {seeds} seeds are {points * seeds} prompts to tune"
            raise fault(message, f"use fewer values or seeds, for at most {MAX_LANES} prompts")
    return sweep


def _rows_for_all(workers: int, info: ValidationInfo) -> int:
    rows = info.data["recipe"].batch_size if "recipe" in info.data else workers
    if workers > rows:
        raise fault(f"is {workers}, but a batch has only {rows} rows", "lower it, or raise recipe.batch_size")
    return workers


def _positive(label: str | None, info: ValidationInfo) -> str | None:
    metric = info.data.get("metric")
    if label is None and metric in METRICS and METRICS[metric].binary:
        raise fault(f"is required by metric {metric!r}", "name the class to detect")
    if "data" not in info.data:
        return label
    slots = len(info.data["data"].slots)
    if label is not None and slots > 1:
        raise fault(f"names a class, but examples have {slots} labels", "remove it, or give one label column")
    return label


def _several_slots(metric: MetricName, info: ValidationInfo) -> MetricName:
    if METRICS[metric].several_slots and "data" in info.data and len(info.data["data"].slots) == 1:
        raise fault("is the same as accuracy for a task with one slot", "write accuracy")
    return metric


def _enough_to_publish(publish: str, info: ValidationInfo) -> str:
    if publish != "ensemble":
        return publish
    if "seeds" in info.data and len(info.data["seeds"]) == 1:
        raise fault("needs several prompts, but there is one seed", "give seeds: 3, or publish: best")
    if {"recipe", "sweep"} <= info.data.keys():
        recipe, sweep = info.data["recipe"], info.data["sweep"]
        points = [recipe] if sweep is None else [point.recipe for point in sweep.points(recipe)]
        if any(point.verbalizer != "linear" for point in points):
            raise fault("averages the classes of linear verbalizers only", "set verbalizer: linear, or publish: best")
    return publish


def _published(name: str | None) -> str | None:
    known = published_figures().tasks
    if name is not None and name not in known:
        raise fault(f"names {described(name)}, which has no published results here", suggestion(name, list(known)))
    return name


DataSpec = Annotated[SerializeAsAny[Reader], BeforeValidator(_reader)]
"""Type of the ``data`` section: one of the registered readers."""

Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]


class TaskSpec(FileModel):
    """A task. Its file must give ``name`` and ``data``."""

    name: Slug
    """Name of the task, its bundles' directory and its runs."""
    family: OneLine = Field("", max_length=64)
    """Group of the task in tables, such as SCR, IC or LID."""
    language: OneLine = Field("", max_length=64)
    """Language tag, such as ``lt``."""
    description: str = Field("", max_length=4000)
    licence: str = Field("", max_length=400)
    """Licence of the data, for the model card."""
    data: DataSpec
    """Source of the examples."""
    metric: Annotated[MetricName, AfterValidator(_several_slots)] = "accuracy"
    """Metric that selects prompts and that the report shows."""
    positive: Annotated[str | None, AfterValidator(_positive)] = Field(None, validate_default=True)
    """Positive class of ``f1`` and ``eer``, for tasks with two classes."""
    bootstrap: Resampled = "utterances"
    """What the bootstrap of confidence intervals draws: ``utterances``, or ``speakers`` with all their utterances. The
    latter needs the speaker of every test example."""
    seeds: Annotated[
        tuple[Seed, ...],
        Field(min_length=1, max_length=MAX_SEEDS),
        BeforeValidator(_seeds),
        AfterValidator(_distinct),
    ] = (0,)
    """Seeds; a number ``n`` stands for 0 to ``n - 1``. Each is one lane."""
    recipe: Annotated[Recipe, BeforeValidator(_recipe)] = Field(default_factory=Recipe)
    """``default``, ``paper``, or a mapping of a name and changed settings."""
    sweep: Annotated[Sweep | None, AfterValidator(_few_lanes), AfterValidator(_readable_points)] = None
    """Settings of the recipe to try in all combinations, each with every seed; the combination with the best mean
    validation metric over seeds is published."""
    publish: Annotated[Literal["best", "ensemble"], AfterValidator(_enough_to_publish)] = "best"
    """What the bundle holds: the prompt of the seed that is best on validation, or those of all seeds, whose
    probabilities are averaged."""
    published: Annotated[str | None, AfterValidator(_published)] = None
    """Name of the task whose published results the report shows; default: the task's own name."""
    shots: int | None = Field(None, ge=1, le=MOST_EXAMPLES, strict=True)
    """Training examples per class, or per combination of labels with several slots, drawn by each seed; ``None``: all.
    The validation and test splits are always used in full."""
    workers: Annotated[int, AfterValidator(_rows_for_all)] = Field(1, ge=1, le=1024, strict=True)
    """Workers that tune the task together, each with a share of every batch, for large tasks. The result is that of one
    worker up to rounding."""
    strict: bool = Field(False, strict=True)
    """Whether suspicious rows are errors instead of notes: a clip with two labels, labels that look alike, and
    speakers, copies or overlaps that splits share."""
    audio: AudioPolicy = Field(default_factory=AudioPolicy)
    """Policy for recordings that are too long, too short or unreadable."""

    @property
    def points(self) -> list[Point]:
        """Points to tune: the recipe, or every combination of the sweep."""
        return [Point("", self.recipe)] if self.sweep is None else self.sweep.points(self.recipe)

    @property
    def lanes(self) -> int:
        """Number of prompts to tune: every point with every seed."""
        return (1 if self.sweep is None else self.sweep.size) * len(self.seeds)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in order."""
        return self.data.slots

    @property
    def published_result(self) -> PublishedResult | None:
        """Published results of this task; ``None`` if there are none."""
        return published_figures().tasks.get(self.published or self.name)

    def canonical(self) -> dict[str, Any]:
        """Return the spec as JSON values with every default spelled out, for digests."""
        return self.model_dump(mode="json")


def load_task_specs(patterns: Sequence[str], base: str, *, named_in: str = "") -> tuple[list[TaskSpec], list[Problem]]:
    """Read every task spec that matches one of the patterns.

    Args:
        patterns: paths and globs (``*``, ``?``, ``[...]``, ``**``), local or ``s3://``.
        base: URI of the directory that relative patterns start from.
        named_in: file that holds the patterns, for messages; default: ``base``.

    Returns:
        The valid specs, in the order of patterns and file names, and all problems of the others.
    """
    problems = ProblemList()
    files: dict[str, None] = {}
    for position, pattern in enumerate(patterns):
        found = find_files(pattern, base, problems, named_in=named_in or base, field=f"tasks[{position}]")
        files.update(dict.fromkeys(found))
    if len(files) > MAX_TASKS:
        message = f"matches {len(files)} files, but a job has at most {MAX_TASKS} tasks"
        problems.add(named_in or base, "tasks", message, "use fewer tasks, or correct the pattern")
        return [], problems.collected()
    specs: list[TaskSpec] = []
    listed = problems.collected()
    first: dict[str, str] = {}
    for uri in files:
        spec, wrong = load_task_spec(uri)
        listed += wrong
        if spec is None:
            continue
        if spec.name in first:
            message = f"{spec.name!r} is also the name of {shown(first[spec.name])}"
            listed.append(Problem(shown(uri), "name", message, "rename one of the two tasks"))
            continue
        first[spec.name] = uri
        specs.append(spec)
    return specs, listed


def load_task_spec(uri: str, *, data: Mapping[str, str] | None = None) -> tuple[TaskSpec | None, list[Problem]]:
    """Read the task spec in a file; return it, or ``None`` and its problems.

    Args:
        uri: URI of the file.
        data: settings of the data section that replace those in the file.
    """
    file, problems = read_yaml(uri)
    if file is None:
        return None, problems
    if another := mistaken(uri, file.data, "task"):
        return None, another
    models: Models = {
        (): TaskSpec,
        ("audio",): AudioPolicy,
        ("recipe",): Recipe,
        ("recipe", "prompt_init"): BundleInit,
        ("sweep",): Sweep,
        ("sweep", "halving"): Halving,
    }
    section = file.data.get("data")
    reader = READERS.get(str(section.get("reader", "manifest"))) if isinstance(section, dict) else None
    if isinstance(section, dict):
        section.update(data or {})
    if reader is not None:
        sections: Models = {("data", name): model for name, model in reader.sections.items()}
        models = {**models, ("data",): reader, **sections}
    context = {"base": base_of(uri), "source": uri}
    try:
        spec = TaskSpec.model_validate(file.data, context=context)
    except ValidationError as error:
        return None, problems + problems_of(error, where=file.where, models=models)
    return (None if problems else spec), problems
