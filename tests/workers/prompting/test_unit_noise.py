from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.prompting.unit_noise import UnitNoise
from workers.speech.unit_prosody import UnitProsody

UNITS = 7
ROWS = st.lists(st.integers(0, UNITS - 1), min_size=1, max_size=30).map(lambda row: np.array(row, dtype=np.int16))
SHARES = st.sampled_from([0.0, 0.1, 0.5, 0.99])


@given(ROWS, SHARES, SHARES, st.integers(0, 2**32), st.booleans())
def test_a_noisy_row_is_a_row(row: np.ndarray, dropped: float, replaced: float, seed: int, heard: bool) -> None:
    prosody = UnitProsody(np.arange(1, len(row) + 1, dtype=np.int32), np.arange(len(row), dtype=np.float32))
    noise, given_prosody = UnitNoise(dropped, replaced, UNITS), prosody if heard else None
    units, found = noise(row, given_prosody, np.random.default_rng(seed))
    assert 1 <= len(units) <= len(row)
    assert units.dtype == np.int16
    assert ((units >= 0) & (units < UNITS)).all()
    assert (np.diff(units) != 0).all(), "no adjacent repeats"
    again, _ = noise(row, given_prosody, np.random.default_rng(seed))
    assert np.array_equal(units, again)
    if found is not None:
        assert len(found.durations) == len(found.f0) == len(units)
        assert found.durations.sum() <= prosody.durations.sum()
        if not dropped:
            assert found.durations.sum() == prosody.durations.sum(), "frames are merged, not lost"
    assert (found is None) == (not heard)


def test_shares_are_those_of_the_recipe() -> None:
    row = np.tile(np.array([0, 1, 2], dtype=np.int16), 20_000)
    dropped, _ = UnitNoise(0.1, 0.0, 100)(row, None, np.random.default_rng(0))
    # Of three units in turn, what is left meets its like only where two in a row have gone.
    assert 0.88 < len(dropped) / len(row) < 0.90
    replaced, _ = UnitNoise(0.0, 0.05, 100)(row, None, np.random.default_rng(0))
    assert 0.045 < (replaced > 2).mean() < 0.055


def test_no_noise_is_none() -> None:
    assert not UnitNoise(0.0, 0.0, UNITS)
    assert UnitNoise(0.0, 0.1, UNITS)
    row = np.array([3, 1, 3], dtype=np.int16)
    assert np.array_equal(UnitNoise(0.0, 0.0, UNITS)(row, None, np.random.default_rng(0))[0], row)
