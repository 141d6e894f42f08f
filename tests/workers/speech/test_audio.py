from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import AudioError
from task_specs.audio_policy import AudioPolicy
from tests.fixtures.shared_data import shared_rows
from tests.fixtures.tones import audio_bytes, tone
from workers.speech.audio import RejectedAudio, apply_policy, decode, seconds_of


def _loudest_hertz(wave: np.ndarray[Any, Any], sample_rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(np.argmax(spectrum) * sample_rate / len(wave))


@pytest.mark.parametrize("format_", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_kind_of_file_becomes_the_same_tone(format_: str, sample_rate: int, channels: int) -> None:
    wave = tone(440, 0.5, sample_rate=sample_rate)
    data = audio_bytes(np.stack([wave] * channels, axis=1), format=format_, sample_rate=sample_rate)
    decoded = decode(data, name="a", sample_rate=16_000)
    assert decoded.dtype == np.float32
    assert decoded.ndim == 1
    assert len(decoded) == pytest.approx(8_000, abs=2)
    assert _loudest_hertz(decoded, 16_000) == pytest.approx(440, abs=4)
    assert np.sqrt(np.mean(decoded[1000:-1000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_channels_are_averaged() -> None:
    left, right = tone(300, 0.2), np.zeros(3200, np.float32)
    decoded = decode(audio_bytes(np.stack([left, right], axis=1)), name="a", sample_rate=16_000)
    np.testing.assert_allclose(decoded, left / 2, atol=1e-4)


@pytest.mark.parametrize("sample_rate", [11_127, 15_999, 96_000, 191_999])
def test_odd_rates_are_resampled_in_bounded_memory(sample_rate: int) -> None:
    data = audio_bytes(tone(1_000, 0.5, sample_rate=sample_rate), sample_rate=sample_rate)
    decoded = decode(data, name="a", sample_rate=16_000)
    assert len(decoded) == pytest.approx(8_000, abs=2)
    assert _loudest_hertz(decoded, 16_000) == pytest.approx(1_000, abs=4)


@pytest.mark.parametrize("format_", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_part_is_the_same_samples_as_in_the_whole(format_: str) -> None:
    data = audio_bytes(tone(440, 1.0), format=format_)
    whole = decode(data, name="a", sample_rate=16_000)
    part = decode(data, name="a", sample_rate=16_000, start=0.25, end=0.75)
    np.testing.assert_array_equal(part, whole[4_000:12_000])


def test_an_end_just_past_the_recording_is_its_end() -> None:
    data = audio_bytes(tone(440, 1.0))
    assert len(decode(data, name="a", sample_rate=16_000, start=0.5, end=1.02)) == 8_000


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"this is text", "unreadable"),
        (audio_bytes(np.zeros(0, np.float32)), "empty"),
        (audio_bytes(tone(440, 0.5), format="FLAC")[:100], "unreadable"),
        (audio_bytes(np.zeros(0, np.float32), format="FLAC"), "empty"),
    ],
)
def test_broken_files_are_rejected_with_a_reason(data: bytes, kind: str) -> None:
    with pytest.raises(RejectedAudio, match=r"^bad\.wav: ") as caught:
        decode(data, name="bad.wav", sample_rate=16_000)
    assert caught.value.kind == kind


def test_samples_that_are_not_finite_are_rejected() -> None:
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.array([0.0, np.nan, 0.1]), 16_000, format="WAV", subtype="FLOAT")
    with pytest.raises(RejectedAudio, match="not finite"):
        decode(buffer.getvalue(), name="a", sample_rate=16_000)


@pytest.mark.parametrize(("start", "end"), [(1.5, None), (0.5, 2.0), (2.0, 3.0), (0.5, 0.5)])
def test_a_part_outside_the_recording_is_rejected(start: float, end: float | None) -> None:
    with pytest.raises(RejectedAudio, match="correct"):
        decode(audio_bytes(tone(440, 1.0)), name="a", sample_rate=16_000, start=start, end=end)


@settings(max_examples=60, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.booleans(),
)
@pytest.mark.parametrize("format_", ["WAV", "FLAC", "OGG", "MP3"])
def test_damaged_files_decode_or_are_rejected(format_: str, flips: list[tuple[int, int]], cut: bool) -> None:
    data = bytearray(audio_bytes(tone(440, 0.05), format=format_))
    for position, value in flips:
        data[position % len(data)] = value
    if cut:
        del data[flips[0][0] % len(data) :]
    try:
        wave = decode(bytes(data), name="a", sample_rate=16_000)
    except AudioError as error:
        assert str(error).startswith("a: ")  # noqa: PT017 (either outcome is right)
    else:
        assert np.isfinite(wave).all()


def test_seconds_come_from_the_header() -> None:
    assert seconds_of(audio_bytes(tone(440, 0.5, sample_rate=8_000), sample_rate=8_000)) == 0.5
    assert seconds_of(b"no audio") is None


def _fit(seconds: float, policy: AudioPolicy) -> float:
    wave = apply_policy(tone(440, seconds), sample_rate=16_000, policy=policy, name="a")
    np.testing.assert_array_equal(wave[:160], tone(440, seconds)[:160])
    return len(wave) / 16_000


def test_policy_crops_and_pads() -> None:
    policy = AudioPolicy(min_seconds=0.5, max_seconds=1.0, too_short="pad", too_long="crop")
    assert [_fit(seconds, policy) for seconds in (0.2, 0.5, 0.7, 1.0, 1.5)] == [0.5, 0.5, 0.7, 1.0, 1.0]


@pytest.mark.parametrize(("seconds", "kind"), [(0.2, "too short"), (1.5, "too long")])
def test_policy_quarantines(seconds: float, kind: str) -> None:
    policy = AudioPolicy(min_seconds=0.5, max_seconds=1.0, too_short="quarantine", too_long="quarantine")
    with pytest.raises(RejectedAudio) as caught:
        _fit(seconds, policy)
    assert caught.value.kind == kind
    assert "audio." in caught.value.detail


def test_a_rejection_survives_the_way_between_processes() -> None:
    rejection = RejectedAudio("a.wav", "empty", "it holds no samples")
    copy = pickle.loads(pickle.dumps(rejection))  # noqa: S301 (our own bytes)
    assert (copy.name, copy.kind, copy.detail, str(copy)) == (
        "a.wav",
        "empty",
        "it holds no samples",
        str(rejection),
    )


def test_real_recordings_of_three_sets_decode() -> None:
    for name, seconds in (
        ("lithuanian_speech_commands", 1.0),
        ("arabic_speech_commands", 1.0),
        ("emodb_gender", 2.8),
    ):
        lengths = []
        for row in shared_rows(name)[::60]:
            with open(row["path"], "rb") as file:  # noqa: PTH123
                lengths.append(len(decode(file.read(), name=row["path"], sample_rate=16_000)) / 16_000)
        assert np.mean(lengths) == pytest.approx(seconds, rel=0.5)
