from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import BackboneError
from tests.fixtures.mfcc import fit_mfcc_tokenizer
from tests.fixtures.tones import babble
from workers.speech import mfcc as features_module
from workers.speech.mfcc import MfccConfig, MfccTokenizer, mfcc_config, mfcc_features
from workers.speech.tokenizer import build_tokenizer
from workers.speech.torchaudio_import import compute_deltas, kaldi


@cache
def _tokenizer() -> MfccTokenizer:
    return fit_mfcc_tokenizer([babble(seed, 1.0) for seed in range(6)], units=30, seed=0)


def test_features_are_those_of_huberts_first_iteration() -> None:
    wave = babble(0, 1.0)
    cepstra = kaldi.mfcc(torch.from_numpy(wave)[None].double(), sample_frequency=16_000, use_energy=False).T
    deltas = compute_deltas(cepstra)
    expected = torch.cat([cepstra, deltas, compute_deltas(deltas)]).T
    found = mfcc_features(wave, MfccConfig(keep_every=1, delta_windows=5, normalise="none"))
    assert found.shape == (98, 39)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_keeping_every_second_window_gives_the_frames_of_hubert() -> None:
    wave = babble(0, 1.0)
    every = mfcc_features(wave, MfccConfig(keep_every=1))
    torch.testing.assert_close(mfcc_features(wave, MfccConfig()), every[::2], rtol=0, atol=0)
    assert _tokenizer().frame_seconds == 0.02


def test_long_clips_are_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = babble(0, 3.0)
    whole = mfcc_features(wave, MfccConfig())
    monkeypatch.setattr(features_module, "_BLOCK_WINDOWS", 7)
    pieces = mfcc_features(wave, MfccConfig())
    assert pieces.shape == whole.shape == (149, 39)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 22_050, 44_100])
def test_windows_are_counted_as_kaldi_counts_them(sample_rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = babble(0, 0.5, sample_rate=sample_rate)
    config = MfccConfig(sample_rate=sample_rate, keep_every=1)
    whole = mfcc_features(wave, config)
    monkeypatch.setattr(features_module, "_BLOCK_WINDOWS", 11)
    torch.testing.assert_close(mfcc_features(wave, config), whole, rtol=0, atol=1e-9)


def test_loudness_and_mean_can_be_evened_out() -> None:
    # Loud enough that no filter falls to kaldi's floor.
    wave = 30 * babble(0, 1.0)
    for normalise in ("loudness", "mean"):
        config = MfccConfig(normalise=normalise)
        torch.testing.assert_close(mfcc_features(wave, config), mfcc_features(4 * wave, config), rtol=0, atol=1e-3)
    raw = MfccConfig(normalise="none")
    assert not torch.allclose(mfcc_features(wave, raw), mfcc_features(4 * wave, raw), atol=1.0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=6))
def test_units_of_a_clip_do_not_depend_on_its_neighbours(lengths: list[int]) -> None:
    waves = [babble(length, 1.3)[:length] for length in lengths]
    together = _tokenizer().encode(waves)
    for wave, units in zip(waves, together, strict=True):
        np.testing.assert_array_equal(units, _tokenizer().encode([wave])[0])
        windows = max(0, 1 + (len(wave) - 400) // 160)
        assert units.shape == (-(-windows // 2),)
        assert units.dtype == np.int64


def test_units_do_not_depend_on_the_number_of_threads() -> None:
    waves = [babble(seed, 4.0) for seed in (20, 21)]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = _tokenizer().encode(waves)
        torch.set_num_threads(2)
        two = _tokenizer().encode(waves)
    finally:
        torch.set_num_threads(threads)
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)


def test_different_sounds_get_different_units() -> None:
    units = np.concatenate(_tokenizer().encode([babble(seed, 1.0) for seed in range(6)]))
    assert 0 <= units.min() <= units.max() < 30
    assert len(set(units.tolist())) > 20


def test_encoding_leaves_its_input_alone() -> None:
    wave = babble(0, 0.5)
    before = wave.copy()
    wave.setflags(write=False)
    fit_mfcc_tokenizer([wave], units=4, seed=0, normalise="loudness").encode([wave])
    np.testing.assert_array_equal(wave, before)


def test_config_and_tensors_make_the_same_tokenizer_again() -> None:
    tokenizer = _tokenizer()
    config = json.loads(json.dumps(tokenizer.config()))
    copy = build_tokenizer(config, tokenizer.tensors())
    assert copy.config() == tokenizer.config()
    assert (copy.units, copy.sample_rate, copy.frame_seconds) == (30, 16_000, 0.02)
    np.testing.assert_array_equal(copy.encode([babble(9, 1.0)])[0], tokenizer.encode([babble(9, 1.0)])[0])


def test_fitting_is_seeded_and_bounded() -> None:
    waves = [babble(seed, 1.0) for seed in range(4)]
    first, again, other = (
        fit_mfcc_tokenizer(iter(waves), units=10, seed=seed, frames=60).tensors() for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first["centroids"], again["centroids"])
    np.testing.assert_array_equal(first["scale"], again["scale"])
    assert not np.array_equal(first["centroids"], other["centroids"])


def test_fitting_needs_speech() -> None:
    with pytest.raises(BackboneError, match="more audio"):
        fit_mfcc_tokenizer([], units=10, seed=0)
    with pytest.raises(BackboneError, match="more audio"):
        fit_mfcc_tokenizer([babble(0, 0.1)], units=10, seed=0)


@pytest.mark.parametrize(
    "settings_",
    [
        {"unit": 100},
        {"units": 1},
        {"units": "100"},
        {"hop_seconds": 0.0},
        {"coefficients": 30},
        {"highest_hertz": 9_000.0},
        {"highest_hertz": 10.0},
        {"normalise": "variance"},
    ],
)
def test_impossible_settings_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(BackboneError, match=r"^tokenizer: .*correct"):
        mfcc_config(settings_)


@pytest.mark.parametrize(
    "change",
    [
        {"centroids": np.zeros((29, 39), np.float32)},
        {"centroids": np.zeros((30, 39), np.float64)},
        {"scale": np.full(39, np.nan, np.float32)},
        {"extra": np.zeros(1, np.float32)},
    ],
)
def test_wrong_tensors_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BackboneError, match="make the backbone again"):
        build_tokenizer(_tokenizer().config(), {**_tokenizer().tensors(), **change})
