"""Unit use of a lane as stored beside its outcome: ``<outcomes>/<lane key>/unit_use.safetensors``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from infra import object_storage
from infra.errors import ObjectNotFound, StorageError
from workers.prompting.unit_use import UnitUse
from workers.tensor_file import parse_tensors

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


def write_unit_use(root: str, key: str, use: LaneUnitUse) -> None:
    """Store it; what is there already is replaced."""
    tensors: dict[str, NDArray[Any]] = {"units": use.units}
    for number, slot in enumerate(use.slots):
        tensors[f"importance.{number}"] = slot.importance.astype(np.float32)
        tensors[f"own.{number}"] = slot.own.astype(np.float32)
    object_storage.write_bytes(object_storage.join(root, key, UNIT_USE_FILE), save(tensors))


def read_unit_uses(root: str, keys: Sequence[str]) -> list[LaneUnitUse]:
    """What is stored of several lanes of a task, in their order, as far as there is anything.

    Raises:
        StorageError: a file is damaged.
    """
    return [use for key in keys if (use := read_unit_use(root, key)) is not None]


def read_unit_use(root: str, key: str) -> LaneUnitUse | None:
    """What is stored of a lane; ``None`` for one without a linear verbalizer.

    Raises:
        StorageError: it is damaged.
    """
    place = object_storage.join(root, key, UNIT_USE_FILE)
    try:
        tensors = parse_tensors(object_storage.read_bytes(place))
        slots = sum(name.startswith("own.") for name in tensors)
        return LaneUnitUse(
            [
                UnitUse(tensors[f"importance.{slot}"].astype(np.float64), tensors[f"own.{slot}"].astype(np.float64))
                for slot in range(slots)
            ],
            tensors["units"],
        )
    except ObjectNotFound:
        return None
    except (ValueError, KeyError) as error:
        raise StorageError(f"{place}: damaged; delete its directory and run the job again") from error
