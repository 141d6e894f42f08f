"""Many unit sequences of different lengths in one flat array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class UnitSequences:
    """Sequences laid end to end.

    Attributes:
        flat: unit numbers of all sequences, int16 [sum of lengths].
        offsets: where each begins, and the end of the last, int64 [sequences + 1].
    """

    flat: NDArray[np.int16]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int] | NDArray[np.integer]]) -> UnitSequences:
        """Lay sequences end to end.

        Raises:
            OverflowError: a unit is no int16 number.
        """
        arrays = [_as_int16(sequence) for sequence in sequences]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return cls(np.concatenate(arrays) if arrays else np.zeros(0, np.int16), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int16]:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def take(self, indices: NDArray[np.int64]) -> UnitSequences:
        """Some of the sequences, in the order given, int64 [chosen]."""
        return UnitSequences.of(self[int(index)] for index in indices)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Units per sequence, int64 [sequences]."""
        return np.diff(self.offsets)


def _as_int16(sequence: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int16]:
    array = np.asarray(sequence)
    # A cast wraps numbers that are too large, without a word.
    narrow = array.astype(np.int16, copy=False)
    if narrow is not array and not np.array_equal(narrow, array):
        raise OverflowError(f"units go up to {np.iinfo(np.int16).max}, here up to {array.max()}")
    return narrow
