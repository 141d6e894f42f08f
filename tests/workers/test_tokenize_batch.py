from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from tests.fixtures.tones import babble, write_audio
from workers.speech.f0 import F0Settings, track_f0
from workers.speech.mfcc import fit_mfcc_tokenizer
from workers.speech.prosody import PitchStatistics, segment_f0
from workers.speech.tokenize_batch import TokenizeBatch, Work
from workers.speech.unit_cache import Quarantined, UnitCache
from workers.speech.units import deduplicate


def test_one_shard_holds_good_and_bad_but_not_what_was_out_of_reach(tmp_path: Path) -> None:
    wave = (np.round(babble(0, 1.0) * 2**15) / 2**15).astype(np.float32)
    good = write_audio(tmp_path / "good.wav", wave)
    short = write_audio(tmp_path / "short.wav", wave[:500])
    absent = str(tmp_path / "absent.wav")
    digests = {uri: hashlib.sha256(Path(uri).read_bytes()).hexdigest() for uri in (good, short)}
    batch = [
        Work("good", digests[good], Clip(good), AudioPolicy()),
        Work("short", digests[short], Clip(short), AudioPolicy()),
        Work("absent", "0" * 64, Clip(absent), AudioPolicy()),
        Work("changed", "0" * 64, Clip(good), AudioPolicy()),
    ]
    tokenizer = fit_mfcc_tokenizer([wave], units=10, seed=0)
    cache = UnitCache(str(tmp_path / "units"), "f" * 64)
    outcomes = {outcome.key: outcome for outcome in TokenizeBatch(tokenizer, cache)(batch)}

    shard = outcomes["good"].shard
    assert shard is not None
    assert [outcomes[work.key].shard for work in batch] == [shard, shard, None, None]
    assert [outcomes[work.key].seconds for work in batch] == [1.0, 0.0, 0.0, 0.0]
    stored = cache.lookup([work.key for work in batch])
    assert set(stored) == {"good", "short"}
    assert stored["good"] == deduplicate(tokenizer.encode([wave])[0])
    assert isinstance(stored["short"], Quarantined)
    for key, word in (("absent", "no such file"), ("changed", "changed")):
        failure = outcomes[key].failure
        assert failure is not None
        assert word in failure.detail


def test_pitch_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    waves = {name: (np.round(babble(seed, 0.7) * 2**15) / 2**15).astype(np.float32) for seed, name in enumerate("ab")}
    paths = {name: write_audio(tmp_path / f"{name}.wav", wave) for name, wave in waves.items()}
    batch = [
        Work(name, hashlib.sha256(Path(path).read_bytes()).hexdigest(), Clip(path), AudioPolicy())
        for name, path in paths.items()
    ]
    tokenizer = fit_mfcc_tokenizer(waves.values(), units=10, seed=0)
    settings = F0Settings()
    cache = UnitCache(str(tmp_path / "units"), "f" * 64, settings)
    TokenizeBatch(tokenizer, cache, settings)(batch)
    stored = cache.lookup(waves)
    for name, wave in waves.items():
        units = stored[name]
        assert not isinstance(units, Quarantined)
        assert units.pitch is not None
        track = track_f0(wave, sample_rate=16_000, settings=settings)
        assert units.pitch.statistics == PitchStatistics.of(track)
        assert units.pitch.statistics.count > 0
        np.testing.assert_array_equal(units.pitch.f0_hz, segment_f0(track, units.durations, values_per_frame=4))
        assert replace(units, pitch=None) == deduplicate(tokenizer.encode([wave])[0])
