"""Pitch and durations of units, as pGSLM takes them.

The recipe, from the F0 track to the streams of the language model, is that of
https://github.com/facebookresearch/fairseq/blob/main/fairseq/data/codedataset.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from infra.errors import BackboneError

DURATION_CAP: Final = 20
F0_BINS: Final = 32
# Below it, values of ln F0 differ by rounding only.
_SMALLEST_VARIANCE: Final = 1e-12


@dataclass(frozen=True)
class PitchStatistics:
    """Sums of ln F0 over voiced values; those of several clips add up to those of their speaker.

    Attributes:
        count: voiced values.
        total: sum of ln F0, F0 in Hz.
        squares: sum of (ln F0)^2.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, track: NDArray[np.float32]) -> PitchStatistics:
        """Statistics of an F0 track in Hz, float32 [values]; zeros are unvoiced and do not count."""
        logs = np.log(track[track > 0].astype(np.float64))
        return cls(len(logs), math.fsum(logs), math.fsum(logs * logs))

    def __add__(self, other: PitchStatistics) -> PitchStatistics:
        return PitchStatistics(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Mean of ln F0; 0.0 where nothing is voiced, and so nothing it could be subtracted from."""
        return self.total / self.count if self.count else 0.0

    @property
    def std(self) -> float:
        """Standard deviation of ln F0; 1.0 where there is none to divide by: nothing is voiced, or all at one F0."""
        if not self.count:
            return 1.0
        variance = self.squares / self.count - self.mean**2
        return math.sqrt(variance) if variance > _SMALLEST_VARIANCE else 1.0


@dataclass(frozen=True, eq=False)
class Pitch:
    """Pitch of one utterance.

    Attributes:
        f0_hz: mean F0 of each unit over its voiced values, 0 where there is none, float32 [T].
        statistics: of the F0 track from which it comes.
    """

    f0_hz: NDArray[np.float32]
    statistics: PitchStatistics

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pitch):
            return NotImplemented
        return np.array_equal(self.f0_hz, other.f0_hz) and self.statistics == other.statistics

    def __hash__(self) -> int:
        return hash((self.f0_hz.tobytes(), self.statistics))


def segment_f0(
    track: NDArray[np.float32], durations: NDArray[np.int32], *, values_per_frame: int
) -> NDArray[np.float32]:
    """Mean F0 of each unit.

    Args:
        track: Hz, 0 where unvoiced, float32 [values]. What exceeds the units is dropped; where it falls short,
            its last value is repeated.
        durations: frames of each unit, int32 [T].
        values_per_frame: F0 values in one frame.

    Returns:
        Mean of the non-zero values in the span of each unit, 0 where there is none, float32 [T].
    """
    unit_of_value = np.repeat(np.arange(len(durations)), np.asarray(durations, np.int64) * values_per_frame)
    values = track[: len(unit_of_value)]
    if 0 < len(values) < len(unit_of_value):
        values = np.pad(values, (0, len(unit_of_value) - len(values)), mode="edge")
    unit_of_value = unit_of_value[: len(values)]
    sums = np.bincount(unit_of_value, weights=values, minlength=len(durations))
    voiced = np.bincount(unit_of_value, weights=values != 0, minlength=len(durations))
    return (sums / np.maximum(voiced, 1)).astype(np.float32)


def normalised_f0(
    f0_hz: NDArray[np.float32], *, mean: float, std: float | None, interpolate: bool
) -> NDArray[np.float32]:
    """Log F0 of units relative to their speaker's.

    Args:
        f0_hz: Hz, 0 where unvoiced, float32 [T].
        mean: of ln F0, subtracted.
        std: of ln F0, divided by; ``None`` leaves the spread as it is.
        interpolate: unvoiced units between voiced ones first get an F0 on the straight line between these, in Hz.

    Returns:
        (ln F0 - mean) / std, float32 [T]; 0 where unvoiced, so at both ends also when interpolated.
    """
    hertz = f0_hz.astype(np.float64)
    (voiced,) = np.nonzero(hertz)
    if interpolate and len(voiced):
        hertz = np.interp(np.arange(len(hertz)), voiced, hertz[voiced], left=0.0, right=0.0)
        (voiced,) = np.nonzero(hertz)
    normalised = np.zeros(len(hertz), np.float32)
    normalised[voiced] = (np.log(hertz[voiced]) - mean) / (1.0 if std is None else std)
    return normalised


def bin_edges(values: NDArray[np.float32], *, bins: int = F0_BINS) -> NDArray[np.float64]:
    """Edges between bins that hold equally many values.

    An edge lies halfway between two neighbouring values, so that no value of the sample sits on it. Where many
    values are equal, the bins are as even as these allow.

    Args:
        values: normalised F0, float32 [N]; zeros are unvoiced and do not count.
        bins: how many.

    Returns:
        Strictly increasing, float64 [bins - 1].

    Raises:
        BackboneError: there are fewer different values than bins.
    """
    voiced = np.asarray(values, np.float32)
    distinct, counts = np.unique(voiced[voiced != 0].astype(np.float64), return_counts=True)
    if len(distinct) < bins:
        raise BackboneError(
            f"f0: {len(distinct)} different values of voiced speech make no {bins} bins; give the backbone more audio"
        )
    # A gap is between distinct[gap] and distinct[gap + 1]; each edge takes the one that is nearest to its share.
    below = np.cumsum(counts)[:-1]
    shares = np.arange(1, bins) * (counts.sum() / bins)
    gaps = np.searchsorted((below[1:] + below[:-1]) / 2, shares)
    # At least one value in every bin: move up past the edge before, and leave room for those after.
    order = np.arange(bins - 1)
    gaps = np.maximum.accumulate(gaps - order) + order
    gaps = np.minimum(gaps, len(below) - (bins - 1) + order)
    edges: NDArray[np.float64] = (distinct[gaps] + distinct[gaps + 1]) / 2
    return edges


def quantised_f0(values: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each value: the number of edges strictly below it, int64 [T].

    Zeros are values as well: an unvoiced unit falls into the bin of its speaker's mean.

    Args:
        values: normalised F0, float32 [T].
        edges: increasing, float64 [bins - 1].
    """
    return np.searchsorted(edges, values.astype(np.float64), side="left").astype(np.int64)


def capped_durations(durations: NDArray[np.int32], *, cap: int = DURATION_CAP) -> NDArray[np.int64]:
    """Durations in frames as classes 0 to ``cap``, int64 [T]; longer units count as ``cap``."""
    return np.minimum(durations, cap).astype(np.int64)
