"""The encoded examples of a lane: as they are stored, and as it draws them."""

from __future__ import annotations

from infra import object_storage
from infra.errors import DamagedFile, DatasetError
from workers.job_store.files import EXAMPLES
from workers.prompting.examples import TaskExamples
from workers.prompting.sampling import few_shot
from workers.tuning.lane_spec import LaneSpec


def stored_examples(spec: LaneSpec) -> TaskExamples:
    """The lane's encoded examples.

    Raises:
        DatasetError: they are not what the plan made of them.
        StorageError: they cannot be read.
    """
    wrong = DatasetError(f"{spec.examples}: not the examples of {spec.task}; {EXAMPLES.then}")
    try:
        examples = TaskExamples.from_bytes(object_storage.read_own(spec.examples, limit=EXAMPLES.limit))
    except (ValueError, KeyError, DamagedFile) as error:
        raise wrong from error
    if examples.digest() != spec.examples_digest:
        raise wrong
    return examples


def drawn_examples(spec: LaneSpec, examples: TaskExamples) -> TaskExamples:
    """What the lane is tuned and measured on: all examples of its task, or few of the training split."""
    if spec.shots is None:
        return examples
    train = examples.splits["train"]
    drawn = train.take(few_shot(train.example_labels, spec.shots, seed=spec.seed))
    return TaskExamples({**examples.splits, "train": drawn})
