from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.speech.resampling import Resampler, _filter, _ratio, _reach, resample, source_samples

_RATES = (8_000, 11_025, 11_127, 22_050, 24_000, 44_100, 47_952, 48_000, 96_000)


def _noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=samples).astype(np.float32)


@pytest.mark.parametrize("rate", _RATES)
def test_the_reach_of_the_filter_is_that_of_torchaudio(rate: int) -> None:
    ratio = _ratio(rate, 16_000)
    # A filter has a block in the middle and its width on either side.
    assert _filter(ratio).kernel.shape[-1] - ratio.numerator == 2 * (_reach(ratio) - ratio.numerator)


@settings(max_examples=6)
@given(
    rate=st.sampled_from(_RATES),
    kept=st.integers(1, 150_000),
    more=st.integers(0, 100_000),
    block=st.integers(10_000, 400_000),
)
def test_a_beginning_and_pieces_give_the_samples_of_the_whole_bit_for_bit(
    rate: int, kept: int, more: int, block: int
) -> None:
    enough = source_samples(kept, rate, 16_000)
    wave = _noise(enough + more)
    whole = resample(wave, rate, 16_000)
    np.testing.assert_array_equal(resample(wave[:enough], rate, 16_000)[: kept + 1], whole[: kept + 1])
    pieces = Resampler(rate, 16_000)
    for start in range(0, len(wave), block):
        pieces.add(wave[start : start + block])
    np.testing.assert_array_equal(pieces.finish(), whole)


def test_a_long_recording_is_resampled_in_pieces_bit_for_bit() -> None:
    wave = _noise(1_000_000)
    pieces = Resampler(44_100, 16_000)
    for start in range(0, len(wave), 65_536):
        pieces.add(wave[start : start + 65_536])
    np.testing.assert_array_equal(pieces.finish(), resample(wave, 44_100, 16_000))


@pytest.mark.parametrize(
    ("rate", "sample_rate"), [(768_000, 16_000), (767_999, 16_000), (1_000, 48_000), (1_009, 16_000)]
)
def test_filters_of_all_rates_are_small(rate: int, sample_rate: int) -> None:
    ratio = _ratio(rate, sample_rate)
    assert ratio.numerator * ratio.denominator <= 1 << 22
    assert ratio == pytest.approx(rate / sample_rate, rel=1e-4)
    assert len(resample(_noise(rate), rate, sample_rate)) == pytest.approx(sample_rate, rel=1e-4)
