"""What a prompt heard in a few test examples, stored beside its outcome: ``<outcomes>/<lane key>/heard.safetensors``.

Of every slot and class it is the first test example in one piece that the prompt got right, for the first classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from workers.evaluation.heard import toward
from workers.evaluation.metrics import Predictions
from workers.job_store.files import HEARD
from workers.tuning.results.outcome import LaneOutcome, parsed_outcome_file
from workers.untrusted.tensor_file import parse_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from workers.tuning.step.gang import Gang
    from workers.tuning.step.lane import Lane

HEARD_FILE: Final = "heard.safetensors"
CLASSES: Final = 12
"""Classes of a slot of which an example is kept, the first ones."""


@dataclass(frozen=True)
class HeardExample:
    """Attributes:
    label: number of its class, which the prompt gave too.
    units: int16 [T].
    weights: how much each unit speaks for the class, in nats, float32 [T].
    """

    label: int
    units: NDArray[np.int16]
    weights: NDArray[np.float32]


def heard_examples(
    gang: Gang, lane: Lane, values: Tensor, predictions: Predictions, temperatures: Sequence[float]
) -> list[list[HeardExample]]:
    """Of each slot the examples to keep; none where the prompt reads the separators alone.

    Args:
        gang: that reads with the prompt.
        lane: whose prompt it is.
        values: its numbers, float32 [at least shape.size].
        predictions: of the prompt on the test split.
        temperatures: by which the scores of each slot are divided.
    """
    test = lane.examples.splits["test"]
    right = predictions.classes == predictions.labels
    found = []
    for slot, temperature in enumerate(temperatures):
        chosen = {
            label: test.row_in_one_piece(np.flatnonzero(right[:, slot] & (predictions.labels[:, slot] == label)))
            for label in range(min(CLASSES, lane.shape.classes[slot]))
        }
        rows = {label: row for label, row in chosen.items() if row is not None}
        parts = gang.positions(lane, values, test, slot, np.array(list(rows.values()), np.int64)) if rows else []
        found.append(
            [
                HeardExample(label, test.units[row], toward(part, label, temperature))
                for (label, row), part in zip(rows.items(), parts, strict=False)
            ]
        )
    return found


def heard_bytes(slots: Sequence[Sequence[HeardExample]]) -> bytes:
    """The file."""
    tensors: dict[str, NDArray[Any]] = {"slots": np.array([len(slots)], np.int32)}
    for slot, examples in enumerate(slots):
        if examples:
            tensors[f"labels.{slot}"] = np.array([one.label for one in examples], np.int32)
            tensors[f"lengths.{slot}"] = np.array([len(one.units) for one in examples], np.int32)
            tensors[f"units.{slot}"] = np.concatenate([one.units for one in examples])
            tensors[f"weights.{slot}"] = np.concatenate([one.weights for one in examples])
    return save(tensors)


def read_heard(root: str, outcome: LaneOutcome) -> list[list[HeardExample]] | None:
    """What is stored of a lane; ``None`` for one that hears nothing along the way.

    Raises:
        DamagedFile: it is not what the lane left.
        StorageError: it cannot be read.
    """
    return parsed_outcome_file(root, outcome, HEARD_FILE, HEARD, _parsed)


def _parsed(data: bytes) -> list[list[HeardExample]]:
    tensors = parse_tensors(data)
    found: list[list[HeardExample]] = []
    for slot in range(int(tensors["slots"][0])):
        if f"labels.{slot}" not in tensors:
            found.append([])
            continue
        ends = np.cumsum(tensors[f"lengths.{slot}"])[:-1]
        units = np.split(tensors[f"units.{slot}"], ends)
        weights = np.split(tensors[f"weights.{slot}"], ends)
        parts = zip(tensors[f"labels.{slot}"].tolist(), units, weights, strict=True)
        found.append([HeardExample(label, own.astype(np.int16), heard) for label, own, heard in parts])
    return found
