"""How wide the gangs of a job are, measured: on a worker when the job starts, or in this process for a plan.

Both take real steps with the job's own batch sizes, prompt lengths and verbalizers. A plan has no units of recordings
yet, so it invents some of a usual length.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import ray
import torch

from infra.errors import InputError, StorageError
from orchestrator.cluster import ActorSize
from orchestrator.gangs import useful_width
from orchestrator.plan import Plan, PlannedTask
from task_specs.example import SPLITS
from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM
from workers.lane_source import LaneSource
from workers.orders import LaneOrder
from workers.precision import Precision
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.prompting.lane import Lane, LaneSpec, SlotSpec
from workers.prompting.probe import Measured, measure_gangs
from workers.sequences import UnitSequences

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
    precision: Precision,
) -> list[Measured]:
    """Measure gangs of some of these lanes on a worker like those that will tune them."""
    probe = _probe.options(num_cpus=size.cpus, num_gpus=size.gpus)
    found: list[Measured] = ray.get(probe.remote([lane.spec for lane in lanes], shared, most, size, precision))
    return found


@ray.remote(max_retries=0)
def _probe(specs: list[LaneSpec], shared: SharedLM, most: int, size: ActorSize, precision: Precision) -> list[Measured]:
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
        return measure_gangs(lm, lanes, most=most, share=1 / actors, precision=plan.job.precision)
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
