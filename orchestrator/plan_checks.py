"""Checks of a plan: the stores, the bundles that prompts start from, and whether the result can be published."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from infra import object_storage
from infra.conditional_writes import require_conditional_writes
from infra.errors import BundleError, InvalidInputs, Problem, SpeechPromptError, StorageError, StoreUnreachable
from infra.uris import LONGEST_PATH, split_s3
from orchestrator import __version__
from orchestrator.job import Job
from orchestrator.tuning.lanes import lane_spec
from task_specs.dataset import Dataset
from task_specs.problems import shown
from task_specs.prompt_init import BundleInit
from task_specs.schema import TaskSpec
from task_specs.sweep import Point
from workers.backbone.directory import BackboneDescription
from workers.bundle.format import check_publishable
from workers.bundle.manifest import BackboneIdentity, Data, Provenance, Task
from workers.bundle.read import FoundBundle, find
from workers.prompting.prompt import PromptShape, prompt_shape
from workers.tuning.results.task_manifest import TaskSections, Tuned, task_manifest
from workers.untrusted.fault_text import first_fault

_LONGEST_NAME: Final = "damaged/0123456789abcdef/0123456789abcdef-prompt.safetensors"
"""Longest name of a file in a task's directory."""
_KEY_BYTES: Final = 1024
"""Longest S3 key: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""


def task_sections(spec: TaskSpec, job: Job, backbone: BackboneDescription, data: Data) -> TaskSections:
    """Return the sections of a bundle's manifest that do not depend on the result of tuning.

    Raises:
        pydantic.ValidationError: a bundle cannot hold it.
        BackboneError: the backbone does not say the sample rate of its tokenizer.
    """
    return TaskSections(
        task=Task(name=spec.name, family=spec.family, language=spec.language),
        backbone=BackboneIdentity(
            name=backbone.name,
            unit_lm=backbone.fingerprints.unit_lm,
            tokenizer=backbone.fingerprints.tokenizer,
        ),
        audio=spec.audio,
        sample_rate=backbone.sample_rate,
        data=data,
        provenance=Provenance(
            created=datetime.now(UTC),
            code_version=__version__,
            experiment=job.name,
            backbone_uri=job.backbone,
        ),
        licence=spec.licence,
    )


def unpublishable(spec: TaskSpec, dataset: Dataset, job: Job, backbone: BackboneDescription) -> list[Problem]:
    """Return what would keep the bundle of a task from being written or read, whatever the result of tuning."""
    problems = []
    longest = object_storage.join(job.bundles, spec.name, _LONGEST_NAME)
    if (size := len(_stored_name(longest))) > (most := _KEY_BYTES if object_storage.is_s3(longest) else LONGEST_PATH):
        message = f"a file of the bundle of {spec.name} would have a path of {size} bytes, but the limit is {most}"
        problems.append(Problem(shown(job.source), "bundles", message, "use a shorter path"))
    counts = dataset.counts
    data = Data(
        digest="f" * 64,
        examples=counts,
        quarantined=sum(counts.values()),
        long=sum(counts.values()),
        shots=spec.shots,
    )
    try:
        sections = task_sections(spec, job, backbone, data)
    except ValidationError as error:
        field, what = first_fault(error)
        message = f"a bundle's manifest cannot hold it: {field} {what.partition('; ')[0]}"
        return [*problems, Problem(shown(job.source), "backbone", message, "use a shorter path, on one line")]
    classes = [len(labels) for labels in dataset.labels]
    points = spec.points
    # Checking the largest prompt of each kind of verbalizer is enough: all else is the same for all points.
    largest: dict[bool, tuple[Point, PromptShape]] = {}
    for point in points:
        shape = prompt_shape(backbone.unit_lm, point.recipe, classes)
        if (fixed := shape.one_unit_a_class) not in largest or shape.size > largest[fixed][1].size:
            largest[fixed] = point, shape
    for point, shape in largest.values():
        lane = lane_spec(spec, dataset, point, seed=max(spec.seeds))
        try:
            members = spec.seeds if spec.publish == "ensemble" else ()
            tuned = Tuned.longest(lane, shape, [each.name for each in points], members)
            check_publishable(task_manifest(sections, lane, tuned), licence=spec.licence)
        except BundleError as error:
            problems.append(Problem(shown(spec.source), "data", error.reason, error.remedy))
    return problems


def _stored_name(uri: str) -> bytes:
    return os.fsencode(split_s3(uri)[1] if object_storage.is_s3(uri) else uri)


WRITTEN = ("bundles", "storage", "units")


def unusable_places(job: Job) -> list[Problem]:
    """Return why the job cannot write to the places that it names.

    Raises:
        InvalidInputs: a server does not answer, so that every further check of it would wait too.
    """
    problems: list[Problem] = []
    for field in WRITTEN:
        place = getattr(job, field)
        try:
            object_storage.check(place)
        except StorageError as error:
            problems.append(Problem.of(shown(job.source), field, error))
            if isinstance(error, StoreUnreachable):
                raise InvalidInputs(problems) from error
    return problems


def require_safe_places(job: Job) -> None:
    """Refuse stores for bundles and for the job that do not obey conditional writes.

    Raises:
        StorageError: a store does not obey them.
    """
    for place in dict.fromkeys((job.bundles, job.storage)):
        require_conditional_writes(place)


def pinned(spec: TaskSpec, backbone: BackboneDescription) -> tuple[TaskSpec, list[Problem]]:
    """Return the spec with the version of every bundle that prompts start from, and problems with these bundles."""
    problems: list[Problem] = []
    found: dict[str, FoundBundle] = {}

    def pin(value: Any, field: str) -> Any:
        if not isinstance(value, BundleInit):
            return value
        try:
            bundle = find(value.bundle)
        except SpeechPromptError as error:
            problems.append(Problem(shown(spec.source), field, error.reason, error.remedy))
            return value
        wrong = _misfit(bundle, value, backbone)
        if wrong is not None:
            problems.append(Problem(shown(spec.source), field, *wrong))
            return value
        found[bundle.uri] = bundle
        return BundleInit(bundle=bundle.uri, version=bundle.version)

    recipe = spec.recipe.model_copy(update={"prompt_init": pin(spec.recipe.prompt_init, "recipe.prompt_init")})
    sweep = spec.sweep
    if sweep is not None and sweep.prompt_init is not None:
        inits = tuple(pin(value, "sweep.prompt_init") for value in sweep.prompt_init)
        if len(set(inits)) < len(inits):
            problems.append(Problem(shown(spec.source), "sweep.prompt_init", "names a bundle twice", "remove one"))
        sweep = sweep.model_copy(update={"prompt_init": inits})
    spec = spec.model_copy(update={"recipe": recipe, "sweep": sweep})
    for point in spec.points:
        init = point.recipe.prompt_init
        if not isinstance(init, BundleInit) or init.bundle not in found:
            continue
        length = found[init.bundle].manifest.prompt.length
        if length != point.recipe.prompt_length:
            message = f"is {point.recipe.prompt_length}, but the prompt of bundle {init.bundle} has length {length}"
            problems.append(Problem(shown(spec.source), "recipe.prompt_length", message, f"set it to {length}"))
            break
    return spec, problems


def _misfit(bundle: FoundBundle, init: BundleInit, backbone: BackboneDescription) -> tuple[str, str] | None:
    theirs = bundle.manifest.backbone
    if theirs.unit_lm != backbone.fingerprints.unit_lm:
        message = f"{bundle.uri} was tuned on another unit LM ({theirs.name or theirs.unit_lm[:12]})"
        return message, f"name a bundle of backbone {backbone.name!r}"
    if bundle.manifest.prompt.members is not None:
        return f"{bundle.uri} is an ensemble of several prompts", "name a bundle of one prompt"
    if init.version not in ("", bundle.version):
        return f"{bundle.uri} is not version {init.version}", "name the directory of that version"
    return None
