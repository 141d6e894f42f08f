"""How wide the gangs of a job are, measured: on a worker when the job starts, or in this process for a plan.

Both take real steps with the job's own batch sizes, prompt lengths and verbalizers. A plan has no units of recordings
yet, so it invents some of a usual length.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import ray
import torch
from pydantic import TypeAdapter, ValidationError

from infra import object_storage
from infra.errors import InputError, ObjectNotFound, StorageError
from infra.private_directory import private_directory
from orchestrator.cluster.session import ActorSize
from orchestrator.plan import Plan, PlannedTask
from orchestrator.tuning.gangs import useful_width
from task_specs.example import SPLITS
from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM
from workers.job_store.files import MEASURED_GANGS
from workers.precision import ResolvedPrecision, resolve
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.speech.sequences import UnitSequences
from workers.tuning.lane_spec import LaneSpec, SlotSpec
from workers.tuning.orders import LaneOrder
from workers.tuning.run.lane_source import LaneSource
from workers.tuning.run.probe import Measured, measure_gangs
from workers.tuning.step.lane import Lane

MIB = 1 << 20
_MEASURED = TypeAdapter(list[Measured])


def place_of(lanes: Sequence[LaneOrder], *, most: int, size: ActorSize, precision: ResolvedPrecision) -> str:
    """The file for gangs of these lanes, on actors of this size of this machine.

    Args:
        lanes: to tune; their keys are digests of LM, data and recipe.
        most: lanes of the largest gang that is of use.
        size: of actors.
        precision: of the LM's matrix products.

    Raises:
        StorageError: there is no place for it that is this user's alone.
    """
    facts = {
        "lanes": sorted(lane.key for lane in lanes),
        "most": most,
        "size": asdict(size),
        "precision": precision,
        "machine": _machine(),
    }
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return object_storage.join(_directory(), f"{name}.json")


def remembered(place: str) -> list[Measured] | None:
    """What an earlier job measured, ``None`` if none did.

    Raises:
        DamagedFile: what is stored is not what was measured.
        StorageError: it cannot be read.
    """
    try:
        return _MEASURED.validate_json(MEASURED_GANGS.read(place))
    except ObjectNotFound:
        return None
    except ValidationError as error:
        raise MEASURED_GANGS.damaged(place, "does not hold widths that were measured") from error


def remember(place: str, measured: Sequence[Measured]) -> None:
    """Keep it for later jobs.

    Raises:
        StorageError: it cannot be written.
    """
    MEASURED_GANGS.write(place, _MEASURED.dump_json(list(measured)))


def _directory() -> str:
    """Of this user alone: who can write it decides what others' jobs compute."""
    cache = os.environ.get("SPEECHPROMPT_CACHE")
    if cache and object_storage.is_s3(cache):
        return object_storage.join(cache, "gangs")
    try:
        place = Path(cache) if cache else Path.home() / ".cache" / "speechprompt"
        return str(private_directory(place.absolute() / "gangs"))
    except RuntimeError as error:
        raise StorageError("this user has no home directory; name a place by SPEECHPROMPT_CACHE") from error
    except StorageError as error:
        raise StorageError(f"{error} by SPEECHPROMPT_CACHE") from error


def _machine() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"cpu": _cpu_model(), "cores": os.cpu_count(), "gpus": gpus, "torch": torch.__version__}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


_Item = TypeVar("_Item")

USUAL_LENGTH = 60
"""Units of an utterance of which the plan knows no length."""
ROWS = 128
"""Invented examples per split."""


def measure_on_worker(
    lanes: Sequence[LaneOrder],
    shared: ray.ObjectRef[SharedLM],
    *,
    most: int,
    size: ActorSize,
    precision: ResolvedPrecision,
) -> list[Measured]:
    """Measure gangs of some of these lanes on a worker like those that will tune them."""
    probe = _probe.options(num_cpus=size.cpus, num_gpus=size.gpus)
    found: list[Measured] = ray.get(probe.remote([lane.spec for lane in lanes], shared, most, size, precision))
    return found


@ray.remote(max_retries=0)
def _probe(
    specs: list[LaneSpec], shared: SharedLM, most: int, size: ActorSize, precision: ResolvedPrecision
) -> list[Measured]:
    device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(size.cpus)))
    lm = shared.attach(device)
    source = LaneSource(lm, shared)

    def lanes(count: int) -> list[Lane]:
        made = []
        for spec in spread(specs, count):
            try:
                made.append(source.lane(spec))
            except (InputError, StorageError):
                continue  # its own gang will say so
        return made

    return measure_gangs(lm, lanes, most=most, share=size.gpus or 1 / size.workers, precision=precision)


def measure_here(plan: Plan) -> list[Measured]:
    """Measure gangs for a plan, in this process; nothing where no actor of this machine would have two lanes.

    Raises:
        BackboneError, StorageError: the LM cannot be read.
    """
    actors = likely_actors(plan)
    specs = [(spec, task) for task in plan.tasks for spec in _specs(task)]
    most = useful_width(plan.blocks, actors)
    if most == 1:
        return []
    shared = SharedLM.of(read_backbone(plan.job.backbone))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lm = shared.attach(device)
    unit_tokens = np.array(shared.unit_tokens, dtype=np.int64)
    examples = {task.spec.name: invented_examples(task, len(unit_tokens)) for task in plan.tasks}

    def lanes(count: int) -> list[Lane]:
        return [
            Lane(spec, examples=examples[task.spec.name], lm=lm, unit_tokens=unit_tokens)
            for spec, task in spread(specs, count)
        ]

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(plan.job.resources.cpus or 1)))
    try:
        return measure_gangs(lm, lanes, most=most, share=1 / actors, precision=resolve(plan.job.precision, device))
    finally:
        torch.set_num_threads(threads)


def likely_actors(plan: Plan) -> int:
    """Actors that this machine would run at a time."""
    asked = plan.job.resources
    gpus = torch.cuda.device_count()
    room = gpus / (asked.gpus or 1) if gpus else (os.cpu_count() or 1) / (asked.cpus or 1)
    return max(1, min(int(room), asked.workers or int(room)))


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """``count`` of the items, evenly spaced; all tasks have a say."""
    return [items[place * len(items) // count] for place in range(min(count, len(items)))]


def invented_examples(task: PlannedTask, unit_count: int) -> TaskExamples:
    """Random units with the lengths that the task's have, as far as they are known."""
    rng = np.random.default_rng(0)
    known = [len(example.units) for example in task.dataset.split("train") if example.units]
    lengths = rng.choice(known, ROWS) if known else np.full(ROWS, USUAL_LENGTH)
    units = UnitSequences.of([rng.integers(unit_count, size=max(1, int(length))) for length in lengths])
    labels = np.stack([rng.integers(len(slot), size=ROWS) for slot in task.dataset.labels], axis=1)
    return TaskExamples({split: SplitExamples(units, labels.astype(np.int64)) for split in SPLITS})


def _specs(task: PlannedTask) -> list[LaneSpec]:
    slots = tuple(
        SlotSpec(name=name, labels=labels) for name, labels in zip(task.dataset.slots, task.dataset.labels, strict=True)
    )
    return [
        LaneSpec(
            task=task.spec.name,
            slots=slots,
            metric=task.spec.metric,
            seed=seed,
            recipe=point.recipe.model_copy(update={"prompt_init": "normal"}),
            examples="",
            examples_digest="",
        )
        for point in task.spec.points
        for seed in task.spec.seeds
    ]


def measured_text(measured: Sequence[Measured]) -> str:
    """Speed and memory of each size."""
    if not measured:
        return "one needs no measuring"
    sizes = "/".join(str(one.lanes) for one in measured)
    rates = "/".join(f"{one.rate:.3g}" for one in measured)
    memory = "/".join(f"{one.memory / MIB:.0f}" for one in measured)
    return f"{sizes} lanes take {rates} lane steps a second and {memory} MiB"
