"""Units of one utterance: the sequence without adjacent repeats, how long each lasts, and its pitch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from workers.speech.prosody import Pitch


@dataclass(frozen=True, eq=False)
class Units:
    """Attributes:
    units: unit numbers without adjacent repeats, int16 [T].
    durations: frames that each lasts, int32 [T], at least 1.
    pitch: of the same units; ``None`` where it was not asked for.
    windows: units of each window, of a recording that was cut into several; empty for one that was not. Only within a
        window are neighbours distinct.
    note: what a user should know of how the recording was read; no part of what the units are.
    """

    units: NDArray[np.int16]
    durations: NDArray[np.int32]
    pitch: Pitch | None = None
    windows: tuple[int, ...] = ()
    note: str | None = None

    def __len__(self) -> int:
        return len(self.units)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Units):
            return NotImplemented
        return (
            np.array_equal(self.units, other.units)
            and np.array_equal(self.durations, other.durations)
            and self.pitch == other.pitch
            and self.windows == other.windows
        )

    def __hash__(self) -> int:
        return hash((self.units.tobytes(), self.durations.tobytes(), self.pitch, self.windows))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where the units of each window begin and end; one span for a recording that was not cut."""
        ends: list[int] = np.cumsum(self.windows or (len(self),)).tolist()
        return list(zip([0, *ends], ends, strict=False))

    @classmethod
    def joined(cls, parts: Sequence[Units]) -> Units:
        """The windows of a recording, one after the other; those without units are left out, since nothing can be read
        from them.

        Args:
            parts: at least one; all with pitch or all without. Pitch statistics are those of the windows together.
        """
        filled = [part for part in parts if len(part)]
        if len(filled) < 2:
            return filled[0] if filled else parts[0]
        pitches = [part.pitch for part in filled if part.pitch is not None]
        pitch = None
        if pitches:
            statistics = reduce(add, (one.statistics for one in pitches))
            pitch = Pitch(np.concatenate([one.f0_hz for one in pitches]), statistics)
        return cls(
            np.concatenate([part.units for part in filled]),
            np.concatenate([part.durations for part in filled]),
            pitch,
            tuple(len(part) for part in filled),
        )

    def frames(self) -> NDArray[np.int64]:
        """One unit per frame again, int64 [sum of durations]."""
        return np.repeat(self.units.astype(np.int64), self.durations)


def deduplicate(frame_units: NDArray[np.int64]) -> Units:
    """Merges runs of one unit.

    Args:
        frame_units: one unit per frame, int64 [frames], each 0 to 32767.

    Raises:
        ValueError: a unit does not fit.
    """
    frame_units = np.asarray(frame_units)
    if frame_units.size and not 0 <= int(frame_units.min()) <= int(frame_units.max()) <= np.iinfo(np.int16).max:
        raise ValueError(f"units must be 0 to {np.iinfo(np.int16).max}")
    starts = np.flatnonzero(np.diff(frame_units, prepend=-1))
    durations = np.diff(starts, append=len(frame_units))
    return Units(frame_units[starts].astype(np.int16), durations.astype(np.int32))
