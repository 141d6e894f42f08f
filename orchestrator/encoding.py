"""From a task's dataset and its tokenized clips to the encoded examples that lanes read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.errors import DatasetError
from orchestrator.tokenizing import ClipRequest
from task_specs.dataset import Dataset
from task_specs.example import SPLITS, Example, Split
from task_specs.schema import TaskSpec
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.sequences import UnitSequences
from workers.speech.units import Units


@dataclass(frozen=True)
class EncodedTask:
    """A task ready to tune.

    Attributes:
        examples: units and class numbers per split.
        quarantined: examples left out because their clip cannot be used.
        majority: share of test examples that are right when every answer is the most frequent label of the training
            split; with several slots the most frequent combination.
    """

    examples: TaskExamples
    quarantined: int
    majority: float


def encode(spec: TaskSpec, dataset: Dataset, tokenized: Mapping[ClipRequest, Units]) -> EncodedTask:
    """Encode the examples of a task.

    Args:
        spec: the task.
        dataset: its examples.
        tokenized: units of the clips that can be used; those missing are left out and counted.

    Raises:
        DatasetError: a split has no usable example left.
    """
    splits: dict[Split, SplitExamples] = {}
    for split in SPLITS:
        units, labels = [], []
        for example in dataset.split(split):
            found = _units(spec, example, tokenized)
            if found is not None and len(found):
                units.append(found)
                labels.append(example.labels)
        if not units:
            raise DatasetError(
                f"{spec.name}: none of the {dataset.counts[split]} clips of split {split} can be used; "
                "see the quarantine report, and the task's audio policy"
            )
        splits[split] = SplitExamples(UnitSequences.of(units), _class_numbers(labels, dataset.labels))
    kept = sum(len(part) for part in splits.values())
    return EncodedTask(TaskExamples(splits), len(dataset.examples) - kept, _majority(splits))


def _units(
    spec: TaskSpec, example: Example, tokenized: Mapping[ClipRequest, Units]
) -> NDArray[np.int16] | tuple[int, ...] | None:
    if example.clip is None:
        return example.units
    found = tokenized.get(ClipRequest(example.clip, spec.audio))
    return None if found is None else found.units


def _class_numbers(labels: list[tuple[str, ...]], classes: tuple[tuple[str, ...], ...]) -> NDArray[np.int64]:
    numbers = [{label: number for number, label in enumerate(slot)} for slot in classes]
    return np.array([[numbers[slot][label] for slot, label in enumerate(row)] for row in labels], dtype=np.int64)


def _majority(splits: Mapping[Split, SplitExamples]) -> float:
    answer, _ = Counter(map(tuple, splits["train"].labels.tolist())).most_common(1)[0]
    return float((splits["test"].labels == np.array(answer)).all(axis=1).mean())
