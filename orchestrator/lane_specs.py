"""What a lane of a task is, from the task spec and its examples."""

from __future__ import annotations

from task_specs.dataset import Dataset
from task_specs.schema import TaskSpec
from task_specs.sweep import Point
from workers.prompting.lane import LaneSpec, SlotSpec


def lane_spec(
    spec: TaskSpec, dataset: Dataset, point: Point, *, seed: int, examples: str = "", digest: str = ""
) -> LaneSpec:
    """The lane that tries a point with a seed.

    Args:
        spec: of the task.
        dataset: its examples.
        point: of its sweep.
        seed: one of its seeds.
        examples: URI of the encoded examples; empty while there are none.
        digest: theirs.
    """
    return LaneSpec(
        task=spec.name,
        slots=tuple(SlotSpec(name=name, labels=of) for name, of in zip(dataset.slots, dataset.labels, strict=True)),
        metric=spec.metric,
        positive=spec.positive,
        bootstrap=spec.bootstrap,
        shots=spec.shots,
        seed=seed,
        recipe=point.recipe,
        examples=examples,
        examples_digest=digest,
    )
