"""Shared cases of recordings that are not what their headers or their names say."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from tests.fixtures.damaged_audio import with_total
from tests.fixtures.mfcc import fit_mfcc_tokenizer
from tests.fixtures.tones import babble
from workers.speech.audio import RejectedAudio, decode, decode_fitted
from workers.speech.tokenize_batch import TokenizeBatch, Work
from workers.speech.unit_cache import Cached, Quarantined, UnitCache


def _decoded(path: Path) -> NDArray[np.float32]:
    return decode(path.read_bytes(), name=path.name, sample_rate=16_000)


def _tokenized(folder: Path, cache: UnitCache) -> dict[str, Cached]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".flac"))
    batch = [
        Work(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), Clip(str(path)), AudioPolicy()) for path in paths
    ]
    tokenizer = fit_mfcc_tokenizer([babble(0, 1.0)], units=10, seed=0)
    TokenizeBatch(tokenizer, cache)(batch)
    return cache.lookup([work.key for work in batch])


@pytest.mark.case("01-flac-unknown-length")
def test_a_flac_file_of_unknown_length_is_used_and_one_of_a_false_length_stops_nobody(
    shared_case: Path, tmp_path: Path
) -> None:
    streamed = shared_case / "audio" / "streamed.flac"
    assert len(_decoded(streamed)) == 6_400
    streamed.with_name("bogus.flac").write_bytes(with_total(streamed.read_bytes(), 2**36 - 1))
    found = _tokenized(shared_case / "audio", UnitCache(str(tmp_path / "units"), "f" * 64))
    quarantined = {name: str(result) for name, result in found.items() if isinstance(result, Quarantined)}
    assert len(found) == 22
    assert list(quarantined) == ["bogus.flac"]
    assert "its header promises 68719476735 samples" in quarantined["bogus.flac"]


@pytest.mark.case("02-gsm-610-wav")
@pytest.mark.parametrize(("name", "samples"), [("voicemail.wav", 13_440), ("g721.wav", 13_080)])
def test_codecs_of_telephone_exchanges_are_read(shared_case: Path, name: str, samples: int) -> None:
    assert len(_decoded(shared_case / name)) == -(-samples * 320 // 441)


@pytest.mark.case("03-mp3-vbr-without-xing")
def test_an_mp3_without_a_count_is_read_to_its_end(shared_case: Path) -> None:
    counted, uncounted = _decoded(shared_case / "with-xing.mp3"), _decoded(shared_case / "without-xing.mp3")
    # Without a count nothing says how much of the first and last frame is padding.
    assert len(counted) == 152_574
    assert 0 <= len(uncounted) - len(counted) <= 2 * 576
    delay = np.argmax(np.correlate(uncounted[:40_000], counted[:38_000], "valid"))
    np.testing.assert_allclose(uncounted[delay : delay + 150_000], counted[:150_000], atol=0.01)


@pytest.mark.case("05-truncated-downloads")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("half.wav", r"promises 12993 samples but 6474 follow; fetch the file again"),
        ("half.mp3", r"promises \d+ samples but \d+ follow; fetch the file again"),
        ("half.flac", r"promises 12993 samples but .* fetch the file again"),
    ],
)
def test_a_download_that_broke_off_is_refused(shared_case: Path, name: str, reason: str) -> None:
    with pytest.raises(RejectedAudio, match=reason):
        _decoded(shared_case / name)


@pytest.mark.case("11-not-audio-at-all")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lfs.wav", "a git-LFS pointer; run 'git lfs pull'"),
        ("html.wav", "an HTML page.*fetch the file again"),
        ("m4a.wav", "MP4.*ffmpeg"),
    ],
)
def test_what_is_no_recording_is_called_what_it_is(shared_case: Path, name: str, words: str) -> None:
    with pytest.raises(RejectedAudio, match=words):
        _decoded(shared_case / name)


@pytest.mark.case("29-long-recording")
def test_of_a_long_recording_no_more_is_decoded_than_is_kept(shared_case: Path) -> None:
    data = (shared_case / "quarter-hour.flac").read_bytes()
    decode_fitted(data[:0] + data, name="warm", sample_rate=16_000, policy=AudioPolicy(max_seconds=1))
    tracemalloc.start()
    heard = decode_fitted(data, name="a", sample_rate=16_000, policy=AudioPolicy()).wave
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(heard) == 480_000
    assert peak < 32 * 2**20
    with soundfile.SoundFile(shared_case / "quarter-hour.flac") as file:
        assert file.frames == 900 * 44_100
