from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from infra.errors import BackboneError
from tests.fixtures.shared_data import shared_rows
from tests.fixtures.tones import babble
from workers.speech.audio import decode
from workers.speech.f0 import F0Settings, track_f0, values_per_frame
from workers.speech.prosody import PitchStatistics

_SETTINGS = F0Settings()


def _harmonics(hertz: NDArray[np.float64], *, sample_rate: int = 16_000) -> NDArray[np.float32]:
    """A buzz whose F0 is ``hertz`` at each sample, float32 [samples].

    Its spectrum falls as slowly as that of a pressed voice: in steady tones that are duller, YAAPT misses octaves.
    """
    phase = 2 * np.pi * np.cumsum(hertz) / sample_rate
    wave: NDArray[np.float64] = sum(
        (np.sin(harmonic * phase) / np.sqrt(harmonic) for harmonic in range(1, 8)), np.zeros(len(hertz))
    )
    return (0.1 * wave).astype(np.float32)


def _track(wave: NDArray[np.float32], *, sample_rate: int = 16_000) -> NDArray[np.float32]:
    return track_f0(wave, sample_rate=sample_rate, settings=_SETTINGS)


@pytest.mark.parametrize("hertz", [100.0, 200.0, 300.0])
@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 44_100])
def test_a_tone_is_tracked_at_every_sample_rate(hertz: float, sample_rate: int) -> None:
    track = _track(_harmonics(np.full(sample_rate // 2, hertz), sample_rate=sample_rate), sample_rate=sample_rate)
    assert track.shape == (100,)
    assert track.dtype == np.float32
    np.testing.assert_allclose(track[3:-3], hertz, rtol=0.02)


def test_a_glide_is_followed() -> None:
    hertz = np.linspace(120, 240, 16_000)
    np.testing.assert_allclose(_track(_harmonics(hertz))[5:-5], hertz[::80][5:-5], rtol=0.03)


def test_a_pause_is_unvoiced() -> None:
    wave = _harmonics(np.full(16_000, 200.0))
    wave[6_000:10_000] = 0
    track = _track(wave)
    assert (track[80:120] == 0).all()
    np.testing.assert_allclose(track[np.r_[5:70, 130:195]], 200, rtol=0.02)


def test_loudness_does_not_count() -> None:
    wave = babble(0, 0.5)
    np.testing.assert_array_equal(_track(wave), _track(wave * np.float32(2**-10)))


def test_silence_is_unvoiced() -> None:
    np.testing.assert_array_equal(_track(np.zeros(1_601, np.float32)), np.zeros(21, np.float32))
    assert _track(np.zeros(0, np.float32)).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(1, 1_500), seed=st.integers(0, 99))
def test_short_clips_have_one_value_per_hop(samples: int, seed: int) -> None:
    track = _track(np.random.default_rng(seed).normal(size=samples).astype(np.float32))
    assert track.shape == (-(-samples // 80),)
    assert np.isfinite(track).all()
    assert (track >= 0).all()
    if samples <= 240:  # three values, of which YAAPT makes nothing
        assert not track.any()


def test_the_hop_decides_how_many_values_there_are() -> None:
    wave = _harmonics(np.full(8_000, 200.0))
    track = track_f0(wave, sample_rate=16_000, settings=F0Settings(hop_seconds=0.01))
    assert track.shape == (50,)
    np.testing.assert_allclose(track[3:-3], 200, rtol=0.02)


def test_speech_is_voiced_in_parts_and_the_same_each_time() -> None:
    row = shared_rows("emodb_emotion")[0]
    wave = decode(Path(row["path"]).read_bytes(), name="a", sample_rate=16_000)
    track = _track(wave)
    voiced = track[track > 0]
    assert len(track) == -(-len(wave) // 80)
    assert 0.2 < len(voiced) / len(track) < 0.95
    assert 59 <= voiced.min() <= voiced.max() <= 400
    np.testing.assert_array_equal(_track(wave), track)


def test_women_speak_higher_than_men() -> None:
    neutral = [row for row in shared_rows("emodb_gender") if row["path"].endswith(("Na.flac", "Nb.flac", "Nc.flac"))]
    means: dict[str, list[float]] = {"male": [], "female": []}
    for row in neutral[::8]:
        wave = decode(Path(row["path"]).read_bytes(), name="a", sample_rate=16_000)
        means[row["label"]].append(math.exp(PitchStatistics.of(_track(wave)).mean))
    assert 80 < np.median(means["male"]) < 160 < np.median(means["female"]) < 280


def test_settings_that_mean_the_same_have_one_digest() -> None:
    assert F0Settings(**_SETTINGS.model_dump()) == _SETTINGS
    assert F0Settings().digest() == _SETTINGS.digest()
    others = [F0Settings(hop_seconds=0.01), F0Settings(nccf_thresh1=0.3), F0Settings(peak=0.9)]
    assert len({other.digest() for other in (*others, _SETTINGS)}) == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [("hop_seconds", 0.00501), ("hop_seconds", 0), ("tda_frame_length_ms", 10.0), ("kind", "rapt"), ("pad", 1)],
)
def test_impossible_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        F0Settings(**{field: value})  # type: ignore[arg-type]


def test_values_belong_to_whole_frames() -> None:
    assert values_per_frame(_SETTINGS, frame_seconds=0.02) == 4
    assert values_per_frame(F0Settings(hop_seconds=0.01), frame_seconds=0.01 * 3) == 3
    for frame_seconds in (0.0225, 0.001):
        with pytest.raises(BackboneError, match=r"hop_seconds is 0\.005.*divides the frame"):
            values_per_frame(_SETTINGS, frame_seconds=frame_seconds)


def test_the_tracker_is_imported_only_to_track_and_its_absence_is_explained() -> None:
    code = (
        "import sys; import numpy as np; import workers.speech.tokenize_batch, workers.speech.f0 as f0\n"
        "assert 'amfm_decompy' not in sys.modules; sys.modules['amfm_decompy'] = None\n"
        "try: f0.track_f0(np.zeros(9, np.float32), sample_rate=16_000, settings=f0.F0Settings())\n"
        "except f0.MissingExtra as error: assert \"'speechprompt[prosody]'\" in str(error)\n"
        "else: sys.exit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
