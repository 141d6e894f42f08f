"""Unit use of a lane as stored beside its outcome: ``<outcomes>/<lane key>/unit_use.safetensors``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from workers.evaluation.unit_use import UnitUse
from workers.job_store.files import UNIT_USE
from workers.tuning.results.outcome import LaneOutcome, parsed_outcome_file
from workers.untrusted.tensor_file import parse_tensors

UNIT_USE_FILE = "unit_use.safetensors"


@dataclass(frozen=True)
class LaneUnitUse:
    """Of every slot.

    Attributes:
        slots: one each.
        units: unit number of each output; -1 for special tokens, durations and F0, int64 [outputs].
    """

    slots: Sequence[UnitUse]
    units: NDArray[np.int64]

    @property
    def names(self) -> list[str]:
        """How people see the outputs: the unit's number, or ``#`` and the output's."""
        return [str(unit) if unit >= 0 else f"#{output}" for output, unit in enumerate(self.units.tolist())]


def unit_use_bytes(use: LaneUnitUse) -> bytes:
    """The file."""
    tensors: dict[str, NDArray[Any]] = {"units": use.units}
    for number, slot in enumerate(use.slots):
        tensors[f"importance.{number}"] = slot.importance.astype(np.float32)
        tensors[f"own.{number}"] = slot.own.astype(np.float32)
    return save(tensors)


def read_unit_uses(root: str, outcomes: Sequence[LaneOutcome]) -> list[LaneUnitUse]:
    """What is stored of several lanes of a task, in their order, as far as there is anything.

    Raises:
        DamagedFile: a file is not what its lane left.
        StorageError: one cannot be read.
    """
    return [use for outcome in outcomes if (use := read_unit_use(root, outcome)) is not None]


def read_unit_use(root: str, outcome: LaneOutcome) -> LaneUnitUse | None:
    """What is stored of a lane; ``None`` for one without a linear verbalizer.

    Raises:
        DamagedFile: it is not what the lane left.
        StorageError: it cannot be read.
    """
    return parsed_outcome_file(root, outcome, UNIT_USE_FILE, UNIT_USE, _parsed)


def _parsed(data: bytes) -> LaneUnitUse:
    tensors = parse_tensors(data)
    slots = sum(name.startswith("own.") for name in tensors)
    return LaneUnitUse(
        [
            UnitUse(tensors[f"importance.{slot}"].astype(np.float64), tensors[f"own.{slot}"].astype(np.float64))
            for slot in range(slots)
        ],
        tensors["units"],
    )
