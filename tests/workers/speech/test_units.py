from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.speech.prosody import Pitch, PitchStatistics
from workers.speech.units import Units, deduplicate


@given(st.lists(st.integers(0, 4), max_size=60))
def test_units_and_durations_say_the_same_as_frames(frames: list[int]) -> None:
    units = deduplicate(np.array(frames, dtype=np.int64))
    assert units.frames().tolist() == frames
    assert not np.any(units.units[1:] == units.units[:-1])
    assert (units.durations >= 1).all()
    assert len(units) == len(units.durations)


def test_known_sequence() -> None:
    units = deduplicate(np.array([5, 5, 5, 2, 5, 5]))
    assert units == Units(np.array([5, 2, 5], np.int16), np.array([3, 1, 2], np.int32))
    assert units.units.dtype == np.int16
    assert units.durations.dtype == np.int32
    assert units != Units(np.array([5, 2, 5], np.int16), np.array([3, 2, 2], np.int32))


def test_pitch_belongs_to_what_is_compared() -> None:
    units, durations = np.array([5, 2], np.int16), np.array([3, 1], np.int32)
    pitched = Units(units, durations, Pitch(np.array([99, 0], np.float32), PitchStatistics(1, 4.6, 21.1)))
    assert pitched == Units(units, durations, Pitch(np.array([99, 0], np.float32), PitchStatistics(1, 4.6, 21.1)))
    assert pitched != Units(units, durations)
    assert pitched != Units(units, durations, Pitch(np.array([98, 0], np.float32), PitchStatistics(1, 4.6, 21.1)))


@pytest.mark.parametrize("unit", [-1, 32_768])
def test_units_that_do_not_fit_are_refused(unit: int) -> None:
    with pytest.raises(ValueError, match="32767"):
        deduplicate(np.array([0, unit]))
