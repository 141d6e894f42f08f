from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from infra.errors import BackboneError
from tests.fixtures.hubert import HEADS, golden_state, random_model
from tests.fixtures.shared_data import shared_folder
from workers.interop.hubert_weights import HubertWeights, from_fairseq, from_torchaudio
from workers.speech.hubert.config import HubertConfig

State = dict[str, Tensor]
_POSITIONS = "encoder.transformer.pos_conv_embed.conv"


def _torchaudio_state() -> State:
    return dict(random_model().state_dict())


def _fairseq_state() -> State:
    """The same weights as fairseq keeps them, the parts of pretraining included."""
    renamed: State = {}
    for name, tensor in _old_weight_norm(_torchaudio_state()).items():
        for ours, theirs in (
            ("encoder.feature_projection.projection", "post_extract_proj"),
            ("encoder.feature_projection.", ""),
            ("encoder.transformer.pos_conv_embed.conv", "encoder.pos_conv.0"),
            ("encoder.transformer.", "encoder."),
            (".attention.", ".self_attn."),
            (".feed_forward.intermediate_dense.", ".fc1."),
            (".feed_forward.output_dense.", ".fc2."),
            (".conv.", ".0."),
        ):
            name = name.replace(ours, theirs)
        if "encoder.layers." in name:
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        if "conv_layers" in name:
            name = name.replace(".layer_norm.", ".2.")
        renamed[name] = tensor
    return renamed | {
        "mask_emb": torch.zeros(24),
        "final_proj.weight": torch.zeros(16, 24),
        "final_proj.bias": torch.zeros(16),
        "label_embs_concat": torch.zeros(50, 16),
    }


def _old_weight_norm(state: State) -> State:
    state = dict(state)
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        state[f"{_POSITIONS}.{old}"] = state.pop(f"{_POSITIONS}.parametrizations.weight.{new}")
    return state


def _same(found: HubertWeights, other: HubertWeights) -> None:
    assert found.sizes == other.sizes
    assert found.tensors.keys() == other.tensors.keys()
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, other.tensors[name], strict=True)


def test_sizes_are_those_of_the_shapes() -> None:
    weights = from_torchaudio(_torchaudio_state(), layer=3, heads=HEADS)
    assert weights.sizes == {
        "layer": 3,
        "dim": 24,
        "heads": 2,
        "ffn_dim": 40,
        "conv_layers": tuple((8, kernel, stride) for _, kernel, stride in HubertConfig().conv_layers),
        "pos_conv_kernel": 16,
        "pos_conv_groups": 4,
    }
    assert {name: tensor.shape for name, tensor in weights.tensors.items()} == HubertConfig(
        **weights.sizes
    ).encoder_shapes()


def test_the_folded_weight_norm_is_the_weight_that_torchaudio_computes_with() -> None:
    weights = from_torchaudio(_torchaudio_state(), layer=1, heads=HEADS)
    computed = random_model().encoder.transformer.pos_conv_embed.conv.weight
    np.testing.assert_array_equal(weights.tensors[f"{_POSITIONS}.weight"], computed.numpy())


def test_both_spellings_of_weight_norm_and_none() -> None:
    new = from_torchaudio(_torchaudio_state(), layer=2, heads=HEADS)
    _same(from_torchaudio(_old_weight_norm(_torchaudio_state()), layer=2, heads=HEADS), new)
    folded = {name: torch.from_numpy(tensor) for name, tensor in new.tensors.items()}
    _same(from_torchaudio(folded, layer=2, heads=HEADS), new)


def test_fairseq_and_torchaudio_give_the_same() -> None:
    _same(
        from_fairseq(_fairseq_state(), layer=2, heads=HEADS), from_torchaudio(_torchaudio_state(), layer=2, heads=HEADS)
    )


def test_half_precision_becomes_float32() -> None:
    half = {name: tensor.half() for name, tensor in _fairseq_state().items()}
    weights = from_fairseq(half, layer=2, heads=HEADS)
    name = "encoder.transformer.layers.1.layer_norm.weight"
    found = half["encoder.layers.1.self_attn_layer_norm.weight"].float().numpy()
    np.testing.assert_array_equal(weights.tensors[name], found, strict=True)


def test_the_golden_checkpoint_holds_nothing_else() -> None:
    state = golden_state(shared_folder("golden") / "hubert")
    weights = from_fairseq(state, layer=3, heads=4)
    dropped = {"mask_emb", "label_embs_concat", "final_proj.weight", "final_proj.bias"}
    # Length and direction become one tensor.
    assert len(weights.tensors) == len(state.keys() - dropped) - 1


def _drop(name: str) -> Callable[[State], Any]:
    return lambda state: state.pop(name)


def _put(name: str, tensor: Tensor) -> Callable[[State], Any]:
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("post_extract_proj.bias"), "post_extract_proj.bias is missing"),
        (_drop("encoder.pos_conv.0.weight_g"), "encoder.pos_conv.0.weight_g is missing"),
        (_drop("encoder.layers.1.fc2.weight"), "encoder.layers.1.fc2.weight is missing"),
        (_drop("feature_extractor.conv_layers.3.0.weight"), r"conv_layers\.3\.0\.weight is missing"),
        (_put("quantizer.vars", torch.zeros(1)), "quantizer.vars is not part of it"),
        (_put("feature_extractor.conv_layers.7.0.weight", torch.zeros(8, 8, 2)), r"conv_layers\.7.*not part of it"),
        (_put("encoder.transformer.layer_norm.bias", torch.zeros(24)), r"encoder\.transformer.*not part of it"),
        (_put("feature_extractor.conv_layers.1.0.bias", torch.zeros(8)), r"conv_layers\.1\.0\.bias is not part of it"),
        (_put("layer_norm.weight", torch.zeros(9)), r"layer_norm.weight has shape \[9\] instead of \[8\]"),
        (_put("encoder.pos_conv.0.weight_g", torch.zeros(24, 1, 1)), r"weight_g has shape .* instead of \[1, 1, 16\]"),
        (_put("encoder.layers.0.fc1.weight", torch.zeros(40)), "fc1.weight has shape .* 2 dimensions"),
        (_put("encoder.layer_norm.bias", torch.zeros(24, dtype=torch.int64)), "encoder.layer_norm.bias is int64"),
        (_put("encoder.layer_norm.bias", torch.full((24,), torch.nan)), "encoder.layer_norm.bias is not finite"),
    ],
)
def test_other_files_are_refused_by_fairseqs_names(change: Callable[[State], Any], message: str) -> None:
    state = _fairseq_state()
    change(state)
    with pytest.raises(BackboneError, match=message):
        from_fairseq(state, layer=2, heads=HEADS)


def test_a_layer_the_file_does_not_have_and_heads_that_do_not_fit() -> None:
    with pytest.raises(BackboneError, match=r"encoder\.layers\.4\.\S+ is missing"):
        from_fairseq(_fairseq_state(), layer=5, heads=HEADS)
    with pytest.raises(BackboneError, match="heads"):
        from_torchaudio(_torchaudio_state(), layer=2, heads=5)
    with pytest.raises(BackboneError, match=r"pos_conv_embed\.conv\.weight is missing"):
        from_torchaudio({name: tensor for name, tensor in _torchaudio_state().items() if "pos_conv" not in name})
