from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.fixtures.golden import expected
from tests.fixtures.hubert import HEADS, golden_state, noise, random_model
from tests.fixtures.shared_data import shared_folder
from workers.interop.hubert_weights import from_fairseq, from_torchaudio
from workers.speech.hubert import encoder as hubert_encoder
from workers.speech.hubert.config import HubertConfig
from workers.speech.hubert.encoder import HubertEncoder, build_model


@cache
def _golden() -> tuple[Path, dict[str, NDArray[Any]]]:
    folder = shared_folder("golden") / "hubert"
    return folder, expected(folder / "expected.npz")


@cache
def _golden_encoder(layer: int) -> HubertEncoder:
    sizes, tensors = from_fairseq(golden_state(_golden()[0]), layer=layer, heads=4)
    return HubertEncoder(HubertConfig(**sizes), tensors)


def _toy(layer: int = 2) -> HubertEncoder:
    sizes, tensors = from_torchaudio(random_model().state_dict(), layer=layer, heads=HEADS)
    return HubertEncoder(HubertConfig(**sizes), tensors)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_every_layer_of_the_golden_model(layer: int) -> None:
    found = _golden_encoder(layer).features([_golden()[1]["waveform"]])[0]
    np.testing.assert_allclose(found, _golden()[1][f"layer{layer}"], rtol=0, atol=5e-5)


def test_golden_convolutions() -> None:
    wave = torch.from_numpy(_golden()[1]["waveform"])
    found = _golden_encoder(1).convolve(wave[None], [len(wave)])[0]
    np.testing.assert_allclose(found, _golden()[1]["conv_features"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("samples", [400, 719, 720, 16_000])
def test_short_golden_clips(samples: int) -> None:
    found = _golden_encoder(3).features([_golden()[1]["waveform"][:samples]])[0]
    np.testing.assert_allclose(found, _golden()[1][f"short_{samples}_layer3"], rtol=0, atol=5e-5)


def test_a_batch_of_golden_clips() -> None:
    waves = [_golden()[1]["waveform"][:samples] for samples in (720, 16_000, 400)]
    for wave, found in zip(waves, _golden_encoder(3).features(waves), strict=True):
        np.testing.assert_allclose(found, _golden()[1][f"short_{len(wave)}_layer3"], rtol=0, atol=5e-5)


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("samples", [400, 5000, 60_000])
def test_features_are_those_of_torchaudios_whole_model(layer: int, samples: int) -> None:
    wave = noise(samples)
    whole = random_model().extract_features(torch.from_numpy(wave)[None])[0][layer - 1][0]
    torch.testing.assert_close(_toy(layer).features([wave])[0].clone(), whole, rtol=0, atol=2e-5)


def test_plain_torch_gives_the_same_where_there_is_no_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = _toy().features([noise(5000)])[0].clone()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    torch.testing.assert_close(_toy().features([noise(5000)])[0].clone(), packed, rtol=0, atol=2e-5)


def test_convolutions_in_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    waves, lengths = torch.zeros(2, 9000), [9000, 4321]
    for row, length in zip(waves, lengths, strict=True):
        row[:length] = torch.from_numpy(noise(length))
    whole = _toy().convolve(waves, lengths)
    for frames in (2, 7, 20, 53):
        monkeypatch.setitem(hubert_encoder._FRAMES_AT_ONCE, "cpu", frames)
        pieces = _toy().convolve(waves, lengths)
        assert pieces.shape == whole.shape
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)


def test_silence_and_an_offset_are_finite() -> None:
    for wave in (np.zeros(4000, np.float32), np.full(4000, 0.7, np.float32)):
        assert bool(_toy().features([wave])[0].isfinite().all())


def test_only_the_layers_used_are_built() -> None:
    config = HubertConfig()
    sizes = {name: tuple(tensor.shape) for name, tensor in build_model(config).state_dict().items()}
    assert sizes == config.encoder_shapes()
    assert sum(map(np.prod, sizes.values())) == 51_843_584


def test_the_whole_base_model_has_the_published_number_of_parameters() -> None:
    shapes = HubertConfig(layer=12).encoder_shapes()
    # Weight norm keeps 128 lengths beside the directions, and pretraining has one vector for masked frames.
    assert sum(map(np.prod, shapes.values())) + 128 + 768 == 94_371_712


def test_building_leaves_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    _toy()
    assert torch.equal(torch.random.get_rng_state(), before)
