from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from infra.errors import AudioError, BackboneError, InvalidInputs, StorageError
from orchestrator.tokenizing import ClipRequest, TokenizingReport, tokenize
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from tests.fixtures.shared_data import shared_rows
from tests.fixtures.tones import babble, write_audio
from workers.speech.audio import decode
from workers.speech.mfcc import MfccTokenizer, fit_mfcc_tokenizer
from workers.speech.tokenizer import build_tokenizer
from workers.speech.units import deduplicate

pytestmark = pytest.mark.usefixtures("ray_cluster")

_POLICY = AudioPolicy()
_FINGERPRINT = "f" * 64


@cache
def _tokenizer() -> MfccTokenizer:
    return fit_mfcc_tokenizer([babble(seed, 1.0) for seed in range(4)], units=20, seed=0)


def _tokenize(clips: list[Clip], root: Path, *, policy: AudioPolicy = _POLICY) -> TokenizingReport:
    return tokenize(
        [(clip, policy) for clip in clips],
        tokenizer=_tokenizer(),
        fingerprint=_FINGERPRINT,
        cache_root=str(root / "units"),
    )


def _clips(directory: Path, count: int) -> list[Clip]:
    suffixes = ("wav", "flac", "ogg", "mp3")
    return [
        Clip(write_audio(directory / f"žodis {seed}.{suffixes[seed % 4]}", babble(seed, 0.3 + 0.1 * seed)))
        for seed in range(count)
    ]


def test_units_are_those_of_the_tokenizer_and_a_second_run_computes_nothing(tmp_path: Path) -> None:
    clips = _clips(tmp_path / "audio", 10)
    clips.append(Clip(clips[9].uri, start=0.2, end=0.7))
    seen: list[tuple[int, int]] = []
    first = tokenize(
        [(clip, _POLICY) for clip in clips],
        tokenizer=_tokenizer(),
        fingerprint=_FINGERPRINT,
        cache_root=str(tmp_path / "units"),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (first.computed, first.cached, first.quarantined) == (11, 0, {})
    assert first.audio_seconds == pytest.approx(sum(0.3 + 0.1 * seed for seed in range(10)) + 0.5, abs=0.1)
    assert seen == sorted(seen)
    assert seen[-1] == (21, 21)
    for clip in clips:
        data = Path(clip.uri).read_bytes()
        wave = decode(data, name="a", sample_rate=16_000, start=clip.start, end=clip.end)
        assert first.units[ClipRequest(clip, _POLICY)] == deduplicate(_tokenizer().encode([wave])[0])

    second = _tokenize(clips, tmp_path)
    assert (second.computed, second.cached, second.audio_seconds) == (0, 11, 0.0)
    assert second.units == first.units


def test_identical_bytes_are_computed_once(tmp_path: Path) -> None:
    clips = _clips(tmp_path, 2)
    copy = Clip(shutil.copy(clips[0].uri, str(tmp_path / "copy.wav")))
    report = _tokenize([*clips, copy, clips[1]], tmp_path)
    assert report.computed == 2
    assert report.units[ClipRequest(copy, _POLICY)] == report.units[ClipRequest(clips[0], _POLICY)]


def test_what_cannot_be_used_is_quarantined_with_a_reason(tmp_path: Path) -> None:
    good = Clip(write_audio(tmp_path / "good.wav", babble(0, 0.5)))
    kinds = {
        Clip(write_audio(tmp_path / "short.wav", babble(0, 0.05))): "too short",
        Clip(write_audio(tmp_path / "long.wav", babble(0, 2.5))): "too long",
        Clip(write_audio(tmp_path / "none.wav", np.zeros(0, np.float32))): "empty",
        Clip(str(tmp_path / "text.wav")): "unreadable",
        Clip(str(tmp_path / "nobytes.wav")): "empty",
        Clip(str(tmp_path / "absent.wav")): "missing",
        Clip(good.uri, start=0.4, end=3.0): "too short",
    }
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "nobytes.wav").write_bytes(b"")
    policy = AudioPolicy(max_seconds=2.0, too_long="quarantine")
    for computed in (7, 0):
        report = _tokenize([good, *kinds], tmp_path, policy=policy)
        assert {request.clip: reason.kind for request, reason in report.quarantined.items()} == kinds
        assert [request.clip for request in report.units] == [good]
        assert report.computed == computed
        assert report.reasons() == {"too short": 2, "empty": 2, "too long": 1, "unreadable": 1, "missing": 1}
        assert list(report.reasons().values()) == [2, 2, 1, 1, 1]
    missing = report.quarantined[ClipRequest(Clip(str(tmp_path / "absent.wav")), policy)]
    assert "shared disk" in missing.detail


def test_each_task_has_its_own_policy(tmp_path: Path) -> None:
    whole = Clip(write_audio(tmp_path / "whole.wav", babble(0, 1.0)))
    short = Clip(write_audio(tmp_path / "short.wav", babble(0, 0.05)))
    shorter_than_a_frame = Clip(write_audio(tmp_path / "frame.wav", babble(0, 0.02)))
    frames = {
        ClipRequest(whole, AudioPolicy(max_seconds=0.5)): 24,
        ClipRequest(whole, AudioPolicy()): 49,
        ClipRequest(short, AudioPolicy(min_seconds=0.5, too_short="pad")): 24,
        ClipRequest(short, AudioPolicy(min_seconds=0.0)): 2,
    }
    refused = {
        ClipRequest(short, AudioPolicy()),
        ClipRequest(shorter_than_a_frame, AudioPolicy(min_seconds=0.0)),
    }
    report = tokenize(
        [*frames, *refused],
        tokenizer=_tokenizer(),
        fingerprint=_FINGERPRINT,
        cache_root=str(tmp_path / "units"),
    )
    assert {request: len(units.frames()) for request, units in report.units.items()} == frames
    assert set(report.quarantined) == refused
    assert report.reasons() == {"too short": 2}


def test_a_strict_policy_names_every_bad_file(tmp_path: Path) -> None:
    good = Clip(write_audio(tmp_path / "good.wav", babble(0, 0.5)))
    (tmp_path / "text.wav").write_text("no audio")
    clips = [good, Clip(str(tmp_path / "text.wav")), Clip(str(tmp_path / "absent.wav"))]
    with pytest.raises(InvalidInputs) as caught:
        _tokenize(clips, tmp_path, policy=AudioPolicy(unreadable="error"))
    assert [Path(problem.file).name for problem in caught.value.problems] == ["text.wav", "absent.wav"]


def test_nothing_found_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none of 2 recordings.*root"):
        _tokenize([Clip(str(tmp_path / "a.wav")), Clip(str(tmp_path / "b.wav"))], tmp_path)


def test_a_cache_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    clip = Clip(write_audio(tmp_path / "a.wav", babble(0, 0.5)))
    (tmp_path / "units").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="units"):
        _tokenize([clip], tmp_path)


def test_an_external_tokenizer_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    external = build_tokenizer({"kind": "external", "name": "hubert", "units": 100}, {})
    with pytest.raises(BackboneError, match="external"):
        tokenize(
            [(Clip("/absent.wav"), _POLICY)],
            tokenizer=external,
            fingerprint=_FINGERPRINT,
            cache_root=str(tmp_path),
        )


def test_no_clips_are_no_work(tmp_path: Path) -> None:
    assert _tokenize([], tmp_path) == TokenizingReport()


_RUN_TO_BE_KILLED = """
import sys, ray
from pathlib import Path
from tests.orchestrator.test_tokenizing import _parts, _tokenize
ray.init(address=sys.argv[1], log_to_driver=False)
_tokenize(_parts(Path(sys.argv[2])), Path(sys.argv[2]))
"""


def _parts(directory: Path) -> list[Clip]:
    files = [str(directory / f"{seed}.wav") for seed in range(4)]
    return [Clip(uri, start=part * 0.05, end=part * 0.05 + 3.0) for uri in files for part in range(150)]


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    import ray

    for seed in range(4):
        write_audio(tmp_path / f"{seed}.wav", babble(seed, 12.0))
    shards = tmp_path / "units" / _FINGERPRINT
    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen([sys.executable, "-c", _RUN_TO_BE_KILLED, address, str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        while not list(shards.glob("*.parquet")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL

    report = _tokenize(_parts(tmp_path), tmp_path)
    assert 0 < report.cached < 600
    assert report.computed + report.cached == len(report.units) == 600


def test_real_recordings_hold_many_copies(tmp_path: Path) -> None:
    rows = shared_rows("arabic_speech_commands")[:300]
    report = _tokenize([Clip(row["path"]) for row in rows], tmp_path)
    distinct = len({Path(row["path"]).read_bytes() for row in rows})
    assert distinct < len(rows)
    assert (report.computed, len(report.units), report.quarantined) == (distinct, len(rows), {})
