from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from infra.errors import BackboneError
from tests.fixtures.golden import expected
from tests.fixtures.hubert import golden_state, noise, toy_tokenizer
from tests.fixtures.shared_data import shared_folder
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import read_backbone, write_backbone
from workers.interop.hubert_weights import from_fairseq
from workers.speech.hubert.config import HubertConfig, hubert_config
from workers.speech.hubert.encoder import HubertEncoder
from workers.speech.hubert.tokenizer import HubertTokenizer
from workers.speech.tokenizer import build_tokenizer
from workers.speech.units import deduplicate


@cache
def _golden() -> tuple[Path, dict[str, NDArray[Any]]]:
    folder = shared_folder("golden") / "hubert"
    return folder, expected(folder / "expected.npz") | expected(folder / "expected_km.npz")


def _golden_tokenizer(layer: int, **settings: Any) -> HubertTokenizer:
    folder, numbers = _golden()
    sizes, tensors = from_fairseq(golden_state(folder), layer=layer, heads=4)
    config = HubertConfig(**sizes, units=20, **settings)
    return HubertTokenizer(config, tensors | {"centroids": numbers["cluster_centers"]})


@cache
def _toy(batched: bool = False) -> HubertTokenizer:
    return toy_tokenizer(batched=batched)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_golden_units(layer: int) -> None:
    found = _golden_tokenizer(layer).encode([_golden()[1]["waveform"]])[0]
    np.testing.assert_array_equal(found, _golden()[1][f"layer{layer}_units"], strict=True)


def test_golden_features_of_every_layer() -> None:
    """Means of three layers are those of three encoders that end there, also over several pieces."""
    wave = _golden()[1]["waveform"]
    [found] = _golden_tokenizer(3).mean_features([wave])
    for layer in (1, 2, 3):
        tokenizer = _golden_tokenizer(layer)
        [features] = HubertEncoder(hubert_config(tokenizer.config()), tokenizer.tensors()).features([wave])
        np.testing.assert_allclose(found[layer - 1], features.double().mean(0), rtol=1e-4, atol=1e-5)
    [of_pieces] = _golden_tokenizer(3, chunk_samples=8000).mean_features([wave])
    np.testing.assert_allclose(of_pieces[-1], _golden()[1]["chunk8000_layer3"].mean(0), rtol=1e-3, atol=1e-4)


def test_golden_units_without_repeats() -> None:
    units = deduplicate(_golden_tokenizer(3).encode([_golden()[1]["waveform"]])[0])
    np.testing.assert_array_equal(units.units, _golden()[1]["dedup_units"])
    np.testing.assert_array_equal(units.durations, _golden()[1]["dedup_counts"])


def test_golden_units_of_pieces() -> None:
    numbers = _golden()[1]
    centroids = numbers["cluster_centers"].astype(np.float64)
    distances = ((numbers["chunk8000_layer3"][:, None].astype(np.float64) - centroids) ** 2).sum(2)
    found = _golden_tokenizer(3, chunk_samples=8000).encode([numbers["waveform"]])[0]
    np.testing.assert_array_equal(found, distances.argmin(1))


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (1, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49), (80_000, 249)],
)
def test_frames(samples: int, frames: int) -> None:
    units = _toy().encode([noise(samples)])[0]
    assert units.dtype == np.int64
    assert units.shape == (frames,)
    assert HubertConfig().frames(samples) == frames
    assert _toy().frame_seconds == 0.02


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(("tail", "frames"), [(0, 12), (1, 12), (399, 12), (400, 13), (1999, 17)])
def test_pieces_are_encoded_apart_and_a_tail_without_a_frame_is_left_out(batched: bool, tail: int, frames: int) -> None:
    pieces = [noise(2000, seed=0), noise(2000, seed=1), noise(tail, seed=2)]
    chunked = toy_tokenizer(chunk_samples=2000, batched=batched)
    found = chunked.encode([np.concatenate(pieces), noise(500)])
    assert [len(units) for units in found] == [frames, 1]
    np.testing.assert_array_equal(found[0], np.concatenate(_toy().encode(pieces)))


@settings(max_examples=25)
@given(st.lists(st.one_of(st.integers(0, 450), st.integers(451, 9000)), max_size=6), st.randoms())
def test_a_clips_units_do_not_depend_on_its_neighbours(lengths: list[int], random: Any) -> None:
    waves = [noise(length, seed=random.randrange(1000)) for length in lengths]
    for batched in (False, True):
        found = _toy(batched).encode(waves)
        assert len(found) == len(waves)
        for units, wave in zip(found, waves, strict=True):
            np.testing.assert_array_equal(units, _toy().encode([wave])[0], strict=True)


def test_nothing_to_encode_builds_no_encoder() -> None:
    tokenizer = toy_tokenizer()
    assert tokenizer.encode([]) == []
    assert "_encoder" not in vars(tokenizer)


def test_round_trip_through_a_backbone_directory(tmp_path: Path) -> None:
    tokenizer = toy_tokenizer(units=20)
    backbone = replace(tiny_backbone(), tokenizer=tokenizer)
    write_backbone(backbone, str(tmp_path / "backbone"))
    read = read_backbone(str(tmp_path / "backbone"))
    assert isinstance(read.tokenizer, HubertTokenizer)
    assert read.tokenizer_fingerprint == backbone.tokenizer_fingerprint
    assert read.tokenizer.config() == tokenizer.config()
    np.testing.assert_array_equal(read.tokenizer.encode([noise(9000)])[0], tokenizer.encode([noise(9000)])[0])


def test_read_only_tensors_do(recwarn: pytest.WarningsRecorder) -> None:
    tensors = toy_tokenizer().tensors()
    for tensor in tensors.values():
        tensor.setflags(write=False)
    build_tokenizer(toy_tokenizer().config(), tensors).encode([noise(500)])
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("centroids", None, "centroids is missing"),
        ("centroids", np.zeros((20, 23), np.float32), r"centroids has shape \[20, 23\] instead of \[20, 24\]"),
        ("centroids", np.zeros((20, 24)), "centroids is float64 instead of float32"),
        ("centroids", np.full((20, 24), np.nan, np.float32), "centroids is not finite"),
        ("mask_emb", np.zeros(24, np.float32), "mask_emb is not part of it"),
        ("encoder.transformer.layer_norm.bias", None, "encoder.transformer.layer_norm.bias is missing"),
    ],
)
def test_other_tensors_are_refused_by_name(name: str, tensor: NDArray[Any] | None, message: str) -> None:
    tensors = toy_tokenizer().tensors()
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    with pytest.raises(BackboneError, match=message):
        build_tokenizer(toy_tokenizer().config(), tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": 0}, "layer"),
        ({"layers": 6}, "layers"),
        ({"heads": 5}, r"dim \(768\).*heads \(5\)"),
        ({"pos_conv_groups": 7}, "pos_conv_groups"),
        ({"conv_norm": "layer_norm"}, "conv_norm"),
        ({"layer_norm": "pre"}, "layer_norm"),
        ({"conv_layers": []}, "conv_layers is empty"),
        ({"conv_layers": [[512, 10]]}, "conv_layers"),
        ({"chunk_samples": 399}, r"chunk_samples \(399\).*400"),
    ],
)
def test_other_settings_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    assert hubert_config(HubertConfig().model_dump(mode="json")) == HubertConfig()
    with pytest.raises(BackboneError, match=message):
        hubert_config(HubertConfig().model_dump(mode="json") | change)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    tokenizer = toy_tokenizer().to("cuda")
    with pytest.raises(BackboneError, match=r"cuda.*sees no GPU"):
        tokenizer.encode([noise(500)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_gives_the_units_of_the_golden_model() -> None:
    found = _golden_tokenizer(3).to("cuda").encode([_golden()[1]["waveform"]])[0]
    np.testing.assert_array_equal(found, _golden()[1]["layer3_units"])
