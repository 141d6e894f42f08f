"""Decoding by blocks: as much as is kept, of whatever its header says."""

from __future__ import annotations

import io
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from task_specs.audio_policy import AudioPolicy
from tests.fixtures.damaged_audio import put, with_data_size, with_total, without_count
from tests.fixtures.tones import audio_bytes, babble, tone
from workers.speech import decoding
from workers.speech.audio import CANCELLED_NOTE, RejectedAudio, decode, decode_fitted, seconds_of
from workers.speech.resampling import resample


def _coded(wave: NDArray[np.float32], format_: str, subtype: str | None = None, *, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=format_, subtype=subtype)
    return buffer.getvalue()


def _fitted(data: bytes, **policy: object) -> NDArray[np.float32]:
    return decode_fitted(data, name="a", sample_rate=16_000, policy=AudioPolicy.model_validate(policy)).wave


@pytest.mark.parametrize(
    ("format_", "subtype", "rate"),
    [
        ("WAV", "GSM610", 8_000),
        ("WAV", "G721_32", 8_000),
        ("WAV", "NMS_ADPCM_32", 8_000),
        ("WAV", "GSM610", 22_050),
        ("AU", "G721_32", 8_000),
        ("WAV", "IMA_ADPCM", 16_000),
        ("WAV", "MS_ADPCM", 16_000),
    ],
)
def test_codecs_that_cannot_be_sought_in_are_read_whole_and_in_part(format_: str, subtype: str, rate: int) -> None:
    data = _coded(babble(0, 1.0, sample_rate=rate), format_, subtype, rate=rate)
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        own = file.buffer_read(file.frames, dtype="float32")
    wanted = np.frombuffer(own, np.float32)
    np.testing.assert_array_equal(decode(data, name="a", sample_rate=rate), wanted)
    part = decode(data, name="a", sample_rate=rate, start=0.25, end=0.75)
    np.testing.assert_array_equal(part, wanted[round(0.25 * rate) : round(0.75 * rate)])


@settings(max_examples=15)
@given(
    format_=st.sampled_from(["WAV", "FLAC", "OGG", "MP3", "AIFF"]),
    channels=st.integers(1, 3),
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100]),
    seconds=st.floats(0.05, 1.5),
)
def test_a_whole_file_is_what_soundfile_reads(format_: str, channels: int, rate: int, seconds: float) -> None:
    channels = min(channels, 2) if format_ == "MP3" else channels
    data = _coded(
        np.stack([babble(seed, seconds, sample_rate=rate) for seed in range(channels)], axis=1), format_, rate=rate
    )
    own, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    np.testing.assert_array_equal(decode(data, name="a", sample_rate=16_000), resample(own.mean(axis=1), rate, 16_000))


@pytest.mark.parametrize(("format_", "rate"), [("WAV", 48_000), ("FLAC", 22_050), ("OGG", 44_100), ("MP3", 16_000)])
def test_a_beginning_is_what_it_is_in_the_whole_and_owns_its_memory(format_: str, rate: int) -> None:
    wave = np.random.default_rng(0).normal(scale=0.1, size=14 * rate).astype(np.float32)
    data = _coded(wave, format_, rate=rate)
    whole = decode(data, name="a", sample_rate=16_000)
    for kept in (0.5, 12.0):
        heard = _fitted(data, max_seconds=kept)
        np.testing.assert_array_equal(heard, whole[: round(kept * 16_000)])
        assert heard.flags.owndata


@pytest.mark.parametrize("too_long", ["crop", "quarantine", "error"])
@pytest.mark.parametrize(
    "long",
    [
        lambda wave: _coded(wave, "WAV"),
        lambda wave: _coded(np.stack([wave, wave], axis=1), "FLAC"),
        lambda wave: with_total(_coded(wave, "FLAC"), 0),
        lambda wave: _coded(wave, "OGG"),
        lambda wave: without_count(_coded(wave, "MP3")),
    ],
)
def test_no_more_is_decoded_than_is_kept(long: Callable[[NDArray[np.float32]], bytes], too_long: str) -> None:
    data = long(babble(0, 12.0))
    read: list[int] = []
    read_block = decoding._read

    def counted(*arguments: object) -> NDArray[np.float32]:
        block = read_block(*arguments)  # type: ignore[arg-type]
        read.append(len(block))
        return block

    with patch.object(decoding, "_read", counted):
        if too_long == "crop":
            assert len(_fitted(data, max_seconds=2.0)) == 32_000
        else:
            with pytest.raises(RejectedAudio, match=r"too long: .* s, and audio\.max_seconds is 2; raise it"):
                _fitted(data, max_seconds=2.0, too_long=too_long)
    assert sum(read) == 32_001


def test_a_recording_in_windows_has_a_longest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.speech.audio.LONGEST_IN_WINDOWS_SECONDS", 3.0)
    assert len(_fitted(audio_bytes(tone(440, 3.0)), max_seconds=1.0, too_long="window")) == 48_000
    with pytest.raises(RejectedAudio, match=r"too long: 3\.500 s, and 3 s are the most .*; cut it up"):
        _fitted(audio_bytes(tone(440, 3.5)), max_seconds=1.0, too_long="window")


@pytest.mark.parametrize(
    ("wave", "subtype"),
    [
        (np.full((100, 2), 3e38), "FLOAT"),
        (np.full((100, 1), -3e38), "FLOAT"),
        (np.full((100, 2), 1e300), "DOUBLE"),
        (np.array([[0.1], [np.inf]]), "FLOAT"),
        (np.array([[0.1, -np.inf]]), "DOUBLE"),
        (np.array([[1e10, -1e10]] * 50), "FLOAT"),
        (np.array([[0.0, np.nan]]), "FLOAT"),
    ],
)
def test_numbers_that_are_no_samples_are_refused(wave: NDArray[np.float64], subtype: str) -> None:
    data = _coded(wave, "WAV", subtype, rate=22_050)  # type: ignore[arg-type]
    with pytest.raises(RejectedAudio, match=r"not finite numbers|where full scale is 1"):
        decode(data, name="a", sample_rate=16_000)


def test_integers_in_floating_point_files_are_samples() -> None:
    data = _coded(tone(440, 0.5) * np.float32(2**31 - 200), "WAV", "FLOAT", rate=22_050)
    assert np.isfinite(decode(data, name="a", sample_rate=16_000)).all()


_VOICE = babble(0, 0.5)


@pytest.mark.parametrize(
    "channels",
    [
        [_VOICE, -_VOICE],
        [_VOICE, -0.999 * _VOICE],
        [_VOICE, _VOICE, -2 * _VOICE],
        [0.5 * _VOICE, 0.3 * _VOICE, -0.8 * _VOICE],
        [_VOICE, -_VOICE, babble(1, 0.5), -babble(1, 0.5)],
    ],
)
def test_the_first_of_channels_that_cancel_each_other_is_heard_and_noted(channels: list[NDArray[np.float32]]) -> None:
    data = _coded(np.stack(channels, axis=1).astype(np.float32), "WAV", "FLOAT")
    heard = decode_fitted(data, name="a", sample_rate=16_000, policy=AudioPolicy())
    np.testing.assert_array_equal(heard.wave, channels[0].astype(np.float32))
    assert heard.note == CANCELLED_NOTE


@pytest.mark.parametrize(
    "channels",
    [[_VOICE], [0 * _VOICE, 0 * _VOICE], [_VOICE, 0 * _VOICE], [_VOICE, babble(1, 0.5)], [_VOICE, -0.9 * _VOICE]],
)
def test_other_channels_are_averaged_without_a_note(channels: list[NDArray[np.float32]]) -> None:
    data = _coded(np.stack(channels, axis=1).astype(np.float32), "WAV", "FLOAT")
    assert decode_fitted(data, name="a", sample_rate=16_000, policy=AudioPolicy()).note is None


_FLAC = _coded(_VOICE, "FLAC")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (with_total(_FLAC, 500), "more than the 500 samples that its header promises"),
        (with_total(_FLAC, 8_001), "promises 8001 samples but 8000 follow; fetch"),
        (_FLAC[: len(_FLAC) * 2 // 3], r"promises 8000 samples but it cannot be decoded .*; fetch"),
        (with_total(_FLAC, 0)[: len(_FLAC) * 2 // 3], "cannot be decoded to its end .*; fetch"),
        (_FLAC + _FLAC, "several recordings one after the other"),
        (_FLAC[:3_000] + b"\xa5" + _FLAC[3_001:], "cannot be decoded to its end"),
    ],
)
def test_flac_files_that_promise_something_else_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(RejectedAudio, match=words) as caught:
        decode(data, name="a", sample_rate=16_000)
    assert caught.value.kind == "unreadable"


def test_what_stands_behind_the_samples_of_a_flac_file_is_no_fault() -> None:
    for behind in (bytes(1_000), b"TAG" + bytes(125), b"anything"):
        np.testing.assert_array_equal(
            decode(_FLAC + behind, name="a", sample_rate=16_000), decode(_FLAC, name="a", sample_rate=16_000)
        )


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [(0.6, None, "0.6 s to the end lies outside"), (0.2, 0.7, "lies outside"), (0.3, 0.3, "start is not before end")],
)
def test_parts_of_a_recording_of_unknown_length_are_checked_as_those_of_any(
    start: float, end: float | None, words: str
) -> None:
    streamed = with_total(_FLAC, 0)
    np.testing.assert_array_equal(
        decode(streamed, name="a", sample_rate=16_000, start=0.1, end=0.4),
        decode(_FLAC, name="a", sample_rate=16_000, start=0.1, end=0.4),
    )
    for data in (streamed, _FLAC):
        with pytest.raises(RejectedAudio, match=words):
            decode(data, name="a", sample_rate=16_000, start=start, end=end)


def test_the_length_for_sorting_is_not_what_a_header_makes_up() -> None:
    wave = babble(0, 2.0)
    assert seconds_of(without_count(_coded(wave, "MP3"))) == pytest.approx(2.0, abs=0.1)
    assert seconds_of(with_data_size(_coded(wave, "WAV"), 0xFFFFFFFF)) == 2.0
    assert seconds_of(with_total(_coded(wave, "FLAC"), 0)) is None
    assert seconds_of(with_total(_coded(wave, "FLAC"), 2**36 - 1)) is None
    assert seconds_of(_coded(wave, "WAV")[:1_000]) is None


def test_an_mp3_that_cannot_be_sought_in_is_refused_with_a_reason() -> None:
    data = _coded(_VOICE, "MP3")
    alone = put(data[: len(data) - len(without_count(data))], data.index(b"Xing") + 8, bytes(4))
    with pytest.raises(RejectedAudio) as caught:
        decode(alone, name="a", sample_rate=16_000)
    assert caught.value.kind in ("empty", "unreadable")


@pytest.mark.parametrize("error", [MemoryError(), ValueError("array is too big"), AssertionError(), RecursionError()])
def test_whatever_happens_while_decoding_is_the_recordings_own(error: Exception) -> None:
    with patch.object(decoding, "_read", side_effect=error), pytest.raises(RejectedAudio) as caught:
        decode(_FLAC, name="a.flac", sample_rate=16_000)
    assert caught.value.kind == "fatal"
    assert "; " in caught.value.detail
