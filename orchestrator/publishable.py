"""Whether what a task would be tuned to can be published, asked before anything is tuned."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from infra import object_storage
from infra.errors import BundleError, Problem
from infra.uris import LONGEST_PATH, split_s3
from orchestrator import __version__
from orchestrator.job import Job
from orchestrator.lane_specs import lane_spec
from task_specs.dataset import Dataset
from task_specs.problems import shown
from task_specs.schema import TaskSpec
from task_specs.sweep import Point
from workers.backbone.directory import BackboneDescription
from workers.bundle.format import check_publishable
from workers.bundle.manifest import BackboneIdentity, Data, Provenance, Task
from workers.fault_text import first_fault
from workers.prompting.prompt import PromptShape, prompt_shape
from workers.task_manifest import TaskSections, Tuned, task_manifest

_LONGEST_NAME: Final = "damaged/0123456789abcdef/0123456789abcdef-prompt.safetensors"
"""Of the files below a task's directory."""
_KEY_BYTES: Final = 1024
"""Of a key in S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""


def task_sections(spec: TaskSpec, job: Job, backbone: BackboneDescription, data: Data) -> TaskSections:
    """What a bundle says of a task whatever comes of tuning it.

    Raises:
        pydantic.ValidationError: a bundle cannot hold it.
    """
    return TaskSections(
        task=Task(name=spec.name, family=spec.family, language=spec.language),
        backbone=BackboneIdentity(
            name=backbone.name,
            unit_lm=backbone.fingerprints.unit_lm,
            tokenizer=backbone.fingerprints.tokenizer,
        ),
        preprocessing={"audio": spec.audio.model_dump(mode="json")},
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
    """What keeps the bundle of a task from being written, or from being read again, whatever comes of tuning it."""
    problems = []
    longest = object_storage.join(job.bundles, spec.name, _LONGEST_NAME)
    if (size := len(_stored_name(longest))) > (most := _KEY_BYTES if object_storage.is_s3(longest) else LONGEST_PATH):
        message = f"a file of the bundle of {spec.name} would have a name of {size} bytes, and {most} are possible"
        problems.append(Problem(shown(job.source), "bundles", message, "name a place with a shorter path"))
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
        message = f"a bundle could not name it, as its {field} {what.partition('; ')[0]}"
        return [*problems, Problem(shown(job.source), "backbone", message, "name it by a shorter path, on one line")]
    classes = [len(labels) for labels in dataset.labels]
    points = spec.points
    # Of fixed verbalizers and of linear ones the largest prompt; all else is the same for all points.
    largest: dict[bool, tuple[Point, PromptShape]] = {}
    for point in points:
        shape = prompt_shape(backbone.unit_lm, point.recipe, classes)
        if shape.linear not in largest or shape.size > largest[shape.linear][1].size:
            largest[shape.linear] = point, shape
    for point, shape in largest.values():
        lane = lane_spec(spec, dataset, point, seed=max(spec.seeds))
        try:
            tuned = Tuned.longest(lane, shape, [each.name for each in points])
            check_publishable(task_manifest(sections, lane, tuned), licence=spec.licence)
        except BundleError as error:
            message, _, remedy = str(error).rpartition("; ")
            problems.append(Problem(shown(spec.source), "data", message, remedy))
    return problems


def _stored_name(uri: str) -> bytes:
    return os.fsencode(split_s3(uri)[1] if object_storage.is_s3(uri) else uri)
