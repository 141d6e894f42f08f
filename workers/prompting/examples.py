"""The encoded examples of one task: units and class numbers, ready to tune on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from task_specs.example import SPLITS, Split
from workers.backbone.fingerprint import fingerprint
from workers.sequences import UnitSequences


@dataclass(frozen=True)
class SplitExamples:
    """Examples of one split.

    Attributes:
        units: the unit sequences.
        labels: class numbers, int64 [examples, slots].
    """

    units: UnitSequences
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.units)


@dataclass(frozen=True)
class TaskExamples:
    """All splits of one task."""

    splits: Mapping[Split, SplitExamples]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, as stored and as digested."""
        return {
            f"{split}.{name}": array
            for split, part in self.splits.items()
            for name, array in (
                ("units", part.units.flat),
                ("offsets", part.units.offsets),
                ("labels", part.labels),
            )
        }

    def digest(self) -> str:
        """SHA-256 over all units, labels and splits."""
        return fingerprint({}, self.tensors())

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        return save(self.tensors())

    @classmethod
    def from_bytes(cls, data: bytes) -> TaskExamples:
        """Inverse of ``to_bytes``."""
        tensors = load(data)
        return cls(
            {
                split: SplitExamples(
                    UnitSequences(tensors[f"{split}.units"], tensors[f"{split}.offsets"]),
                    tensors[f"{split}.labels"],
                )
                for split in SPLITS
            }
        )


class Batches:
    """An endless seeded order over the rows of a split; its state is the number of batches drawn.

    Args:
        rows: number of examples.
        batch_size: rows of a batch; the last of an epoch may be shorter.
        seed: of the order.
    """

    def __init__(self, rows: int, *, batch_size: int, seed: int) -> None:
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self.per_epoch = -(-rows // batch_size)
        self._epoch = -1
        self._order = np.zeros(0, dtype=np.int64)

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """Rows of the batch number ``index``, counted from 0 over all epochs."""
        epoch, position = divmod(index, self.per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self._seed, epoch]).permutation(self._rows)
            self._epoch = epoch
        return self._order[position * self._batch_size : (position + 1) * self._batch_size]
