"""Noise on the units of training rows, so that a prompt does not come to rely on single ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.speech.unit_prosody import UnitProsody


@dataclass(frozen=True)
class UnitNoise:
    """What happens to each unit of a row, independently.

    Attributes:
        dropped: share of units that are left out.
        replaced: share of the others that become any unit.
        units: how many units there are.
    """

    dropped: float
    replaced: float
    units: int

    def __bool__(self) -> bool:
        return self.dropped > 0 or self.replaced > 0

    def __call__(
        self, units: NDArray[np.int16], prosody: UnitProsody | None, rng: np.random.Generator
    ) -> tuple[NDArray[np.int16], UnitProsody | None]:
        """A row with noise, again without adjacent repeats, and of one unit at least.

        Args:
            units: int16 [T].
            prosody: of each unit; a unit that takes in those after it has their frames too, and its own pitch.
            rng: from which it is drawn.
        """
        kept = rng.random(len(units)) >= self.dropped
        kept[rng.integers(len(units))] |= not kept.any()
        any_unit = rng.integers(self.units, size=len(units), dtype=np.int16)
        noisy = np.where(rng.random(len(units)) < self.replaced, any_unit, units)[kept]
        first = np.flatnonzero(np.diff(noisy, prepend=noisy[:1] - 1))
        if prosody is None:
            return noisy[first], None
        durations = np.add.reduceat(prosody.durations[kept], first).astype(np.int32)
        return noisy[first], UnitProsody(durations, prosody.f0[kept][first])
