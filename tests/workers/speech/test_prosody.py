from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from infra.errors import BackboneError
from tests.fixtures.golden import expected
from tests.fixtures.shared_data import shared_folder
from workers.speech.prosody import (
    Pitch,
    PitchStatistics,
    bin_edges,
    capped_durations,
    normalised_f0,
    quantised_f0,
    segment_f0,
)
from workers.speech.units import Units, deduplicate

_HERTZ = st.one_of(st.just(0.0), st.floats(60, 400, width=32))
_TRACKS = st.lists(_HERTZ, max_size=40).map(lambda values: np.array(values, np.float32))


def _golden(variant: str) -> dict[str, NDArray[Any]]:
    return expected(shared_folder("golden/pgslm") / f"expected_{variant}.npz")


def _segments(arrays: dict[str, NDArray[Any]], row: int) -> tuple[Units, NDArray[np.float32]]:
    """Units of a golden utterance and their F0, from its raw arrays."""
    units = deduplicate(arrays["raw_frame_units"][row, : arrays["raw_frame_counts"][row]])
    track = arrays["raw_f0_hz"][row, : arrays["raw_f0_counts"][row]]
    return units, segment_f0(track, units.durations, values_per_frame=4)


@pytest.mark.parametrize("variant", ["discrete", "continuous"])
def test_segments_are_those_of_the_reference(variant: str) -> None:
    arrays = _golden(variant)
    for row, count in enumerate(arrays["segment_counts"]):
        units, f0_hz = _segments(arrays, row)
        assert [*units.units, 102] == arrays["segment_codes"][row, :count].tolist()
        assert [*units.durations, 0] == arrays["segment_durations"][row, :count].tolist()
        assert f0_hz.dtype == np.float32
        np.testing.assert_allclose([*f0_hz, 0], arrays["segment_f0_hz"][row, :count], rtol=1e-6)


@pytest.mark.parametrize("variant", ["discrete", "continuous"])
def test_streams_are_those_of_the_reference(variant: str) -> None:
    arrays = _golden(variant)
    for row, count in enumerate(arrays["segment_counts"]):
        units, f0_hz = _segments(arrays, row)
        mean = float(arrays["speaker_logf0_mean"][arrays["speaker"][row]])
        # The end of the sequence is a unit of its own: no frames, no F0.
        normalised = normalised_f0(np.append(f0_hz, np.float32(0)), mean=mean, std=None, interpolate=True)
        assert normalised.dtype == np.float32
        # Of 102, the last entry, the input stream does not show the F0: it is a target only.
        inner, target = slice(2, count + 1), slice(1, count + 1)
        if variant == "discrete":
            bins = quantised_f0(normalised, arrays["f0_bin_edges"])
            assert arrays["f0_src"][row, inner].tolist() == bins[:-1].tolist()
            assert arrays["f0_target"][row, target].tolist() == bins.tolist()
            assert arrays["dur_src"][row, inner].tolist() == capped_durations(units.durations).tolist()
        else:
            np.testing.assert_allclose(arrays["f0_src"][row, inner], normalised[:-1], atol=1e-6, rtol=0)
            np.testing.assert_allclose(arrays["f0_target"][row, target], normalised, atol=1e-6, rtol=0)
            assert arrays["dur_src"][row, inner].tolist() == units.durations.tolist()


def test_segments_of_a_known_track() -> None:
    durations = np.array([1, 2, 1, 2], np.int32)
    track = np.array([100, 0, 0, 200, 0, 300, 0, 0, 10, 50], np.float32)
    found = segment_f0(track, durations, values_per_frame=2)
    assert found.tolist() == [100, 250, 0, 40]  # two values short: 10, 50, 50, 50
    found = segment_f0(np.append(track, np.array([0, 60, 9, 9], np.float32)), durations, values_per_frame=2)
    assert found.tolist() == [100, 250, 0, 40]  # two values too many
    assert segment_f0(np.zeros(0, np.float32), durations, values_per_frame=2).tolist() == [0, 0, 0, 0]
    assert segment_f0(track, np.zeros(0, np.int32), values_per_frame=2).shape == (0,)


@given(track=_TRACKS, durations=st.lists(st.integers(1, 5), min_size=1, max_size=8), ratio=st.integers(1, 4))
def test_a_units_f0_lies_among_its_values(track: NDArray[np.float32], durations: list[int], ratio: int) -> None:
    found = segment_f0(track, np.array(durations, np.int32), values_per_frame=ratio)
    assert found.shape == (len(durations),)
    ends = ratio * np.cumsum(durations)
    padded = [*track, *itertools.repeat(track[-1] if len(track) else 0.0, int(ends[-1]))]
    for value, end, duration in zip(found, ends, durations, strict=True):
        voiced = [hertz for hertz in padded[end - ratio * duration : end] if hertz]
        assert value == pytest.approx(math.fsum(voiced) / len(voiced) if voiced else 0.0, rel=1e-6)


@given(_TRACKS, _TRACKS)
def test_statistics_of_parts_add_up(first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
    together = PitchStatistics.of(np.concatenate([first, second]))
    found = PitchStatistics.of(first) + PitchStatistics.of(second)
    assert found.count == together.count
    assert found.total == pytest.approx(together.total, rel=1e-12)
    assert found.squares == pytest.approx(together.squares, rel=1e-12)
    voiced = np.concatenate([first, second])
    logs = np.log(voiced[voiced > 0].astype(np.float64))
    if len(logs):
        assert found.mean == pytest.approx(logs.mean())
    if len(logs) and logs.std() > 1e-4:
        assert found.std == pytest.approx(logs.std(), rel=1e-5)


def test_statistics_without_spread_divide_by_one() -> None:
    assert (PitchStatistics().mean, PitchStatistics().std) == (0.0, 1.0)
    assert PitchStatistics.of(np.zeros(3, np.float32)) == PitchStatistics()
    monotone = PitchStatistics.of(np.full(1000, 123.4, np.float32))
    assert monotone.mean == pytest.approx(math.log(123.4))
    assert monotone.std == 1.0


def test_interpolation_fills_only_what_lies_between() -> None:
    f0_hz = np.array([0, 100, 0, 0, 400, 0], np.float32)
    found = normalised_f0(f0_hz, mean=1.0, std=2.0, interpolate=True)
    expected_logs = np.log([100, 200, 300, 400])
    np.testing.assert_allclose(found, [0, *((expected_logs - 1) / 2), 0], rtol=1e-6)
    plain = normalised_f0(f0_hz, mean=1.0, std=None, interpolate=False)
    np.testing.assert_allclose(plain, [0, np.log(100) - 1, 0, 0, np.log(400) - 1, 0], rtol=1e-6)
    for interpolate in (False, True):
        assert not normalised_f0(np.zeros(3, np.float32), mean=1.0, std=None, interpolate=interpolate).any()
        assert normalised_f0(np.zeros(0, np.float32), mean=1.0, std=None, interpolate=interpolate).shape == (0,)


@given(
    values=st.lists(st.floats(-2, 2, width=32).filter(bool), min_size=1, max_size=200),
    repeats=st.integers(1, 60),
    bins=st.integers(2, 12),
)
def test_edges_increase_and_no_bin_is_empty(values: list[float], repeats: int, bins: int) -> None:
    # One value is frequent, as YAAPT's are: they are quotients of the sample rate and a whole lag.
    sample = np.array(values + [values[0]] * repeats + [0.0], np.float32)
    if len(set(values)) < bins:
        with pytest.raises(BackboneError, match=f"{len(set(values))} different values .* {bins} bins; give"):
            bin_edges(sample, bins=bins)
        return
    edges = bin_edges(sample, bins=bins)
    assert edges.dtype == np.float64
    assert edges.shape == (bins - 1,)
    assert (np.diff(edges) > 0).all()
    assert set(quantised_f0(sample[:-1], edges)) == set(range(bins))


@given(count=st.integers(32, 500), seed=st.integers(0, 99))
def test_bins_hold_equally_many_values(count: int, seed: int) -> None:
    sample = np.random.default_rng(seed).permutation(np.linspace(0.1, 1, count)).astype(np.float32)
    sizes = np.bincount(quantised_f0(sample, bin_edges(sample)), minlength=32)
    assert abs(sizes - count / 32).max() <= 1


def test_a_value_on_an_edge_belongs_below_it() -> None:
    edges = np.array([-0.5, 0.25])
    found = quantised_f0(np.array([-1, -0.5, -0.25, 0, 0.25, 0.5], np.float32), edges)
    assert found.tolist() == [0, 0, 1, 1, 1, 2]
    assert found.dtype == np.int64


def test_durations_are_capped() -> None:
    durations = np.array([1, 20, 21, 400], np.int32)
    assert capped_durations(durations).tolist() == [1, 20, 20, 20]
    assert capped_durations(durations, cap=3).tolist() == [1, 3, 3, 3]
    assert capped_durations(durations).dtype == np.int64


def test_pitch_compares_by_content() -> None:
    statistics = PitchStatistics(2, 10.0, 50.0)
    pitch = Pitch(np.array([100, 0], np.float32), statistics)
    assert pitch == Pitch(np.array([100, 0], np.float32), statistics)
    assert hash(pitch) == hash(Pitch(np.array([100, 0], np.float32), statistics))
    assert pitch != Pitch(np.array([100, 1], np.float32), statistics)
    assert pitch != Pitch(np.array([100, 0], np.float32), PitchStatistics())
