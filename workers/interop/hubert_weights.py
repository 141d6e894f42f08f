"""Weights of HuBERT as fairseq and torchaudio publish them, turned into those of the tokenizer.

https://github.com/facebookresearch/fairseq/tree/main/examples/hubert and ``torchaudio.pipelines.HUBERT_BASE``
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infra.errors import BackboneError
from workers.speech.hubert.config import BASE_CONV_LAYERS, HubertConfig, hubert_config, misfits

BASE_STRIDES: Final = tuple(layer.stride for layer in BASE_CONV_LAYERS)
"""Strides of the convolutions, which no weight tells."""

TORCHAUDIO: Final = "encoder.feature_projection.projection.weight"
"""A tensor of torchaudio's files that fairseq's call otherwise."""
_POSITIONS: Final = "encoder.transformer.pos_conv_embed.conv"
# Length and direction in the old and the new spelling of torch's weight norm.
_NORMED: Final = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)
_LAYER: Final = re.compile(r"encoder\.(?:transformer\.)?layers\.(\d+)\.")
# What pretraining needs and features do not.
_HEADS: Final = re.compile(r"mask_emb|label_embs_concat|final_proj\.(weight|bias)")
_FAIRSEQ: Final = (
    (r"feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"feature_extractor\.conv_layers\.0\.layer_norm\.", r"feature_extractor.conv_layers.0.2."),
    (r"encoder\.feature_projection\.layer_norm\.", r"layer_norm."),
    (r"encoder\.feature_projection\.projection\.", r"post_extract_proj."),
    (r"encoder\.transformer\.pos_conv_embed\.conv", r"encoder.pos_conv.0"),
    (r"encoder\.transformer\.layer_norm\.", r"encoder.layer_norm."),
    (r"encoder\.transformer\.layers\.(\d+)\.attention\.", r"encoder.layers.\1.self_attn."),
    (r"encoder\.transformer\.layers\.(\d+)\.layer_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
    (r"encoder\.transformer\.layers\.(\d+)\.feed_forward\.intermediate_dense\.", r"encoder.layers.\1.fc1."),
    (r"encoder\.transformer\.layers\.(\d+)\.feed_forward\.output_dense\.", r"encoder.layers.\1.fc2."),
    (r"encoder\.transformer\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
)


class HubertWeights(NamedTuple):
    """The encoder of a tokenizer.

    Attributes:
        sizes: fields of ``HubertConfig`` that its weights tell; all but ``units`` and what has only one value.
        tensors: as ``HubertConfig.encoder_shapes`` names them, float32.
    """

    sizes: dict[str, Any]
    tensors: dict[str, NDArray[np.float32]]


def from_fairseq(
    state: Mapping[str, Tensor], *, layer: int = 6, heads: int = 12, strides: Sequence[int] = BASE_STRIDES
) -> HubertWeights:
    """Weights from the ``model`` entry of a fairseq checkpoint.

    Args:
        state: tensors by fairseq's names, of any floating type.
        layer: the transformer layer whose output is used, from 1.
        heads: of attention.
        strides: of the convolutions.

    Raises:
        BackboneError: names tensors that are missing, unknown or misshapen.
    """
    return _convert(state, _fairseq_name, layer=layer, heads=heads, strides=strides)


def from_torchaudio(
    state: Mapping[str, Tensor], *, layer: int = 6, heads: int = 12, strides: Sequence[int] = BASE_STRIDES
) -> HubertWeights:
    """Weights from the state of torchaudio's ``Wav2Vec2Model``, such as the file of its bundle ``HUBERT_BASE``.

    Args:
        state: tensors by torchaudio's names, of any floating type.
        layer: the transformer layer whose output is used, from 1.
        heads: of attention.
        strides: of the convolutions.

    Raises:
        BackboneError: names tensors that are missing, unknown or misshapen.
    """
    return _convert(state, lambda name: name, layer=layer, heads=heads, strides=strides)


def as_fairseq(state: Mapping[str, Tensor], config: HubertConfig) -> dict[str, Tensor]:
    """The tensors of torchaudio's file as fairseq keeps them, up to the layer that is used.

    Args:
        state: of which ``from_torchaudio`` made a tokenizer.
        config: of that tokenizer.
    """
    found = {_fairseq_name(name): state[name] for name in config.encoder_shapes() if name in state}
    positions = _fairseq_name(_POSITIONS)
    weight = found.pop(f"{positions}.weight", None)
    if weight is not None:
        normed = [weight.norm(dim=(0, 1), keepdim=True), weight]
    else:
        normed = next(
            [state[f"{_POSITIONS}.{n}"] for n in names] for names in _NORMED if f"{_POSITIONS}.{names[0]}" in state
        )
    return found | {f"{positions}.{name}": tensor for name, tensor in zip(_NORMED[0], normed, strict=True)}


def _fairseq_name(name: str) -> str:
    """What fairseq calls a tensor of torchaudio's."""
    for pattern, replacement in _FAIRSEQ:
        renamed, found = re.subn(f"^{pattern}", replacement, name)
        if found:
            return renamed
    raise AssertionError(name)


def _convert(
    state: Mapping[str, Tensor],
    source: Callable[[str], str],
    *,
    layer: int,
    heads: int,
    strides: Sequence[int],
) -> HubertWeights:
    """Checks everything by the names of the source, which are those the user knows."""
    used = {
        name: tensor
        for name, tensor in state.items()
        if not _HEADS.fullmatch(name) and not ((number := _LAYER.match(name)) and int(number[1]) >= layer)
    }
    _fold_weight_norm(used, source(_POSITIONS))
    config = _config(used, source, layer=layer, heads=heads, strides=strides)
    arrays = {name: _float32(name, tensor) for name, tensor in used.items()}
    if wrong := misfits(arrays, {source(name): shape for name, shape in config.encoder_shapes().items()}):
        raise _misfit(wrong)
    sizes = config.model_dump(
        include={"layer", "dim", "heads", "ffn_dim", "conv_layers", "pos_conv_kernel", "pos_conv_groups"}
    )
    return HubertWeights(sizes, {name: arrays[source(name)] for name in config.encoder_shapes()})


def _fold_weight_norm(tensors: dict[str, Tensor], positions: str) -> None:
    """Replaces length and direction of the positional convolution by the weight that torch would compute each time."""
    for names in _NORMED:
        length_name, direction_name = (f"{positions}.{name}" for name in names)
        if length_name not in tensors and direction_name not in tensors:
            continue
        direction, length = _of_dims(tensors, direction_name, 3), _of_dims(tensors, length_name, 3)
        if length.shape != (1, 1, direction.shape[2]):
            wanted = [1, 1, direction.shape[2]]
            raise _misfit(f"{length_name} has shape {list(length.shape)} instead of {wanted}")
        del tensors[length_name], tensors[direction_name]
        tensors[f"{positions}.weight"] = torch._weight_norm(direction.float(), length.float(), 2)


def _config(
    tensors: Mapping[str, Tensor], source: Callable[[str], str], *, layer: int, heads: int, strides: Sequence[int]
) -> HubertConfig:
    """The sizes that a few tensors have; all others must fit them."""
    convolutions = [f"feature_extractor.conv_layers.{index}.conv.weight" for index in range(len(strides))]
    shapes = [_of_dims(tensors, source(name), 3).shape for name in convolutions]
    dim, per_group, pos_conv_kernel = _of_dims(tensors, source(f"{_POSITIONS}.weight"), 3).shape
    hidden = "encoder.transformer.layers.0.feed_forward.intermediate_dense.weight"
    return hubert_config(
        {
            "layer": layer,
            "dim": dim,
            "heads": heads,
            "ffn_dim": _of_dims(tensors, source(hidden), 2).shape[0],
            "conv_layers": [(shape[0], shape[2], stride) for shape, stride in zip(shapes, strides, strict=True)],
            "pos_conv_kernel": pos_conv_kernel,
            "pos_conv_groups": dim // max(1, per_group),
        }
    )


def _of_dims(tensors: Mapping[str, Tensor], name: str, dims: int) -> Tensor:
    if name not in tensors:
        raise _misfit(f"{name} is missing")
    if tensors[name].dim() != dims:
        raise _misfit(f"{name} has shape {list(tensors[name].shape)} instead of {dims} dimensions")
    return tensors[name]


def _float32(name: str, tensor: Tensor) -> NDArray[np.float32]:
    if not tensor.is_floating_point():
        raise _misfit(f"{name} is {str(tensor.dtype).removeprefix('torch.')} instead of a floating type")
    array: NDArray[np.float32] = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    return array


def _misfit(problem: str) -> BackboneError:
    return BackboneError(f"HuBERT weights: {problem}; give the file as it was published, and its layer and heads")
