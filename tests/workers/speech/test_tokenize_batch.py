from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.errors import BackboneError
from task_specs.audio_policy import AudioPolicy
from task_specs.example import Clip
from tests.fixtures.mfcc import fit_mfcc_tokenizer
from tests.fixtures.tones import audio_bytes, babble, write_audio
from workers.speech.audio import CANCELLED_NOTE
from workers.speech.external import ExternalConfig, ExternalTokenizer
from workers.speech.f0 import F0Settings, track_f0
from workers.speech.feature_cache import FeatureCache
from workers.speech.mfcc import MfccTokenizer
from workers.speech.prosody import PitchStatistics, segment_f0
from workers.speech.tokenize_batch import FeatureBatch, TokenizeBatch, Work
from workers.speech.unit_cache import Quarantined, UnitCache
from workers.speech.units import Units, deduplicate
from workers.speech.utterance import encode_utterances


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


def _batch(folder: Path, recordings: dict[str, bytes], policy: AudioPolicy | None = None) -> list[Work]:
    for name, data in recordings.items():
        (folder / name).write_bytes(data)
    return [
        Work(name, hashlib.sha256(data).hexdigest(), Clip(str(folder / name)), policy or AudioPolicy())
        for name, data in recordings.items()
    ]


def _failing(error: Exception) -> MfccTokenizer:
    """A tokenizer that an exception ends on waveforms that begin with full scale, whoever is beside them."""

    class Failing(MfccTokenizer):
        def encode(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
            if any(wave[0] > 0.9 for wave in waves):
                raise error
            return super().encode(waves)

    whole = fit_mfcc_tokenizer([babble(0, 1.0)], units=10, seed=0)
    return Failing.from_parts(whole.config(), whole.tensors())


@pytest.mark.parametrize(
    "error", [MemoryError(), ValueError("x"), IndexError(), ZeroDivisionError(), RuntimeError("x")]
)
def test_a_clip_that_cannot_be_encoded_stops_no_other_and_is_tried_again(tmp_path: Path, error: Exception) -> None:
    loud = np.concatenate([np.ones(1, np.float32), babble(1, 0.5)])
    recordings = {"a": babble(0, 0.5), "bad": loud, "c": babble(2, 0.5)}
    batch = _batch(tmp_path, {name: audio_bytes(wave) for name, wave in recordings.items()})
    cache = UnitCache(str(tmp_path / "units"), "f" * 64)
    outcomes = {outcome.key: outcome for outcome in TokenizeBatch(_failing(error), cache)(batch)}
    assert set(cache.lookup(["a", "bad", "c"])) == {"a", "c"}
    failure = outcomes["bad"].failure
    assert failure is not None
    assert failure.kind == "fatal"
    assert type(error).__name__ in failure.detail


def test_an_error_of_the_backbone_is_no_clips(tmp_path: Path) -> None:
    batch = _batch(tmp_path, {"bad": audio_bytes(np.ones(8_000, np.float32))})
    run = TokenizeBatch(
        _failing(BackboneError("no weights; import them")), UnitCache(str(tmp_path / "units"), "f" * 64)
    )
    with pytest.raises(BackboneError):
        run(batch)


def test_a_file_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    batch = _batch(tmp_path, {"a": audio_bytes(babble(0, 0.5)), "b": b""})
    (tmp_path / "b").unlink()
    (tmp_path / "b").mkdir()
    outcomes = {
        outcome.key: outcome
        for outcome in TokenizeBatch(_failing(ValueError()), UnitCache(str(tmp_path / "units"), "f" * 64))(batch)
    }
    assert outcomes["a"].shard is not None
    assert outcomes["b"].failure is not None
    assert "is a directory, not a file" in outcomes["b"].failure.detail


def test_waveforms_are_encoded_before_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = {str(number): audio_bytes(babble(number, 0.5)) for number in range(20)}
    wanted = UnitCache(str(tmp_path / "at_once"), "f" * 64)
    tokenizer = fit_mfcc_tokenizer([babble(0, 1.0)], units=10, seed=0)
    windows = AudioPolicy(max_seconds=0.3, too_long="window")
    TokenizeBatch(tokenizer, wanted)(_batch(tmp_path, recordings, windows))
    monkeypatch.setattr("workers.speech.tokenize_batch._HELD_SAMPLES", 20_000)
    calls: list[int] = []

    def counted(given: Any, waves: Sequence[Any], *rest: Any) -> Any:
        calls.append(len(waves))
        return encode_utterances(given, waves, *rest)

    monkeypatch.setattr("workers.speech.tokenize_batch.encode_utterances", counted)
    found = UnitCache(str(tmp_path / "in_turn"), "f" * 64)
    TokenizeBatch(tokenizer, found)(_batch(tmp_path, recordings, windows))
    assert max(calls) == 3
    assert found.lookup(recordings) == wanted.lookup(recordings)


def test_what_was_noted_of_a_recording_stays_with_its_units(tmp_path: Path) -> None:
    wave = babble(0, 0.5)
    cancelling = audio_bytes(np.stack([wave, -wave], axis=1))
    cache = UnitCache(str(tmp_path / "units"), "f" * 64)
    TokenizeBatch(fit_mfcc_tokenizer([babble(0, 1.0)], units=10, seed=0), cache)(
        _batch(tmp_path, {"anti": cancelling, "mono": audio_bytes(wave)})
    )
    found = cache.lookup(["anti", "mono"])
    assert isinstance(found["anti"], Units)
    assert found["anti"] == found["mono"]
    assert found["anti"].note == CANCELLED_NOTE
    assert isinstance(found["mono"], Units)
    assert found["mono"].note is None


class Choosy(MfccTokenizer):
    """Cannot compute features of short clips."""

    def mean_features(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        if any(len(wave) < 12_000 for wave in waves):
            raise RuntimeError("too short for me")
        return super().mean_features(waves)


def test_features_are_stored_of_what_can_be_had(tmp_path: Path) -> None:
    waves = {name: (np.round(babble(seed, seconds) * 2**15) / 2**15).astype(np.float32)
             for seed, (name, seconds) in enumerate({"one": 1.0, "two": 1.2, "tiny": 0.5}.items())}  # fmt: skip
    paths = {name: write_audio(tmp_path / f"{name}.wav", wave) for name, wave in waves.items()}
    batch = [
        Work(name, hashlib.sha256(Path(path).read_bytes()).hexdigest(), Clip(path), AudioPolicy())
        for name, path in paths.items()
    ]
    batch.append(Work("absent", "0" * 64, Clip(str(tmp_path / "absent.wav")), AudioPolicy()))
    tokenizer = fit_mfcc_tokenizer([waves["one"]], units=10, seed=0)
    made = Choosy.from_parts(tokenizer.config(), tokenizer.tensors())
    cache = FeatureCache(str(tmp_path / "units"), "f" * 64)
    outcomes = {outcome.key: outcome for outcome in FeatureBatch(made, cache)(batch)}
    stored = cache.lookup([work.key for work in batch])
    assert stored.keys() == cache.known([work.key for work in batch]) == {"one", "two"}
    for name, found in stored.items():
        np.testing.assert_array_equal(found, tokenizer.mean_features([waves[name]])[0])
    assert [outcomes[name].seconds for name in ("one", "two", "tiny", "absent")] == [1.0, 1.2, 0.0, 0.0]
    computed = "its features could not be computed (RuntimeError: too short for me)"
    for name, said in (("tiny", computed), ("absent", "no such file")):
        failure = outcomes[name].failure
        assert failure is not None
        assert said in failure.detail


def test_a_tokenizer_without_features_computes_none(tmp_path: Path) -> None:
    external = ExternalTokenizer(ExternalConfig(name="any", units=20))
    with pytest.raises(BackboneError, match="the tokenizer external offers no features; leave out"):
        FeatureBatch(external, FeatureCache(str(tmp_path), "f" * 64))
