"""Many unit sequences of different lengths in one flat array, with or without their prosody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.speech.unit_prosody import UnitProsody


@dataclass(frozen=True)
class UnitSequences:
    """Sequences laid end to end.

    Attributes:
        flat: unit numbers of all sequences, int16 [sum of lengths].
        offsets: where each begins, and the end of the last, int64 [sequences + 1].
        prosody: of all units, in the same order; ``None`` where no LM reads it.
    """

    flat: NDArray[np.int16]
    offsets: NDArray[np.int64]
    prosody: UnitProsody | None = None

    @classmethod
    def of(
        cls,
        sequences: Iterable[Sequence[int] | NDArray[np.integer]],
        prosody: Sequence[UnitProsody] | None = None,
    ) -> UnitSequences:
        """Lay sequences end to end.

        Args:
            sequences: units of each.
            prosody: of each, as long as its units.

        Raises:
            OverflowError: a unit is no int16 number.
        """
        arrays = [_as_int16(sequence) for sequence in sequences]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        flat = np.concatenate(arrays) if arrays else np.zeros(0, np.int16)
        return cls(flat, offsets, None if prosody is None else UnitProsody.concatenate(prosody))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int16]:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def prosody_of(self, index: int) -> UnitProsody | None:
        """The prosody of one sequence's units."""
        if self.prosody is None:
            return None
        return self.prosody.part(int(self.offsets[index]), int(self.offsets[index + 1]))

    def prosody_of_rows(self, indices: NDArray[np.int64]) -> list[UnitProsody] | None:
        """The prosody of some of the sequences, int64 [chosen]; ``None`` where there is none."""
        parts = [part for index in indices if (part := self.prosody_of(int(index))) is not None]
        return None if self.prosody is None else parts

    def take(self, indices: NDArray[np.int64]) -> UnitSequences:
        """Some of the sequences, in the order given, int64 [chosen]."""
        return UnitSequences.of((self[int(index)] for index in indices), self.prosody_of_rows(indices))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything by name, as it is stored and digested: ``units``, ``offsets``, and ``durations`` and ``f0`` of
        units with prosody."""
        arrays: dict[str, NDArray[Any]] = {"units": self.flat, "offsets": self.offsets}
        if self.prosody is not None:
            arrays |= {"durations": self.prosody.durations, "f0": self.prosody.f0}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> UnitSequences:
        """Inverse of ``arrays``."""
        prosody = UnitProsody(arrays["durations"], arrays["f0"]) if "durations" in arrays else None
        return cls(arrays["units"], arrays["offsets"], prosody)

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
