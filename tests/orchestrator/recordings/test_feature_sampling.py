from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from infra.errors import AudioError
from orchestrator.recordings import feature_sampling
from orchestrator.recordings.feature_sampling import sample_features
from task_specs.example import Clip
from tests.fixtures.deadly import DEADLY_SOUND, deadly_sample_rows
from tests.fixtures.tones import babble, write_audio
from workers.speech.mfcc import MfccConfig, fit_from_features, mfcc_features

pytestmark = pytest.mark.usefixtures("ray_cluster")

_CONFIG = MfccConfig(units=10)


def test_frames_come_from_all_clips_and_from_copies_once(tmp_path: Path) -> None:
    clips = [Clip(write_audio(tmp_path / f"{seed}.flac", babble(seed, 1.0))) for seed in range(6)]
    copy = Clip(shutil.copy(clips[0].uri, str(tmp_path / "copy.flac")))
    bad = Clip(str(tmp_path / "absent.wav"))
    seen: list[tuple[int, int]] = []
    sample = sample_features(
        [*clips, copy, bad],
        config=_CONFIG,
        seed=0,
        frames=80,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert sample.features.shape == (60, 39)
    assert sample.features.dtype == np.float32
    assert sample.clips == 6
    assert {clip: reason.kind for clip, reason in sample.quarantined.items()} == {bad: "missing"}
    assert seen[-1] == (8, 8)
    fit_from_features(sample.features, _CONFIG, seed=0)

    again = sample_features([*clips, copy, bad], config=_CONFIG, seed=0, frames=80)
    np.testing.assert_array_equal(again.features, sample.features)
    other = sample_features([*clips, copy, bad], config=_CONFIG, seed=1, frames=80)
    assert not np.array_equal(other.features, sample.features)


def test_a_recording_that_kills_its_workers_is_left_out_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_sampling, "_sample_rows", deadly_sample_rows)
    names = ("a.wav", DEADLY_SOUND, "b.wav")
    clips = [Clip(write_audio(tmp_path / name, babble(seed, 0.5))) for seed, name in enumerate(names)]
    sample = sample_features(clips, config=_CONFIG, seed=0)
    assert sample.clips == 2
    assert {clip: reason.kind for clip, reason in sample.quarantined.items()} == {clips[1]: "fatal"}


def test_a_small_collection_is_taken_whole(tmp_path: Path) -> None:
    wave = np.round(babble(0, 1.0) * 2**15) / 2**15
    clip = Clip(write_audio(tmp_path / "a.wav", wave.astype(np.float32)))
    sample = sample_features([clip], config=_CONFIG, seed=0)
    np.testing.assert_allclose(sample.features, mfcc_features(wave.astype(np.float32), _CONFIG), atol=1e-4)


def test_a_large_collection_is_thinned_out(tmp_path: Path) -> None:
    clips = [Clip(write_audio(tmp_path / f"{seed}.wav", babble(seed, 0.5))) for seed in range(12)]
    sample = sample_features(clips, config=_CONFIG, seed=0, frames=50)
    assert (sample.clips, sample.features.shape) == (5, (50, 39))


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no clips"):
        sample_features([], config=_CONFIG, seed=0)
    with pytest.raises(AudioError, match="none of 1 recordings"):
        sample_features([Clip(str(tmp_path / "absent.wav"))], config=_CONFIG, seed=0)
