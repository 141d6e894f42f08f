"""Settings of the HuBERT tokenizer, and the tensors that go with them.

Names and shapes are those of torchaudio's ``Wav2Vec2Model``, the weight norm of the positional convolution folded in.
https://arxiv.org/abs/2106.07447, table I, column BASE
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra.errors import BackboneError
from infra.printable import first_of, in_ascii
from workers.untrusted.fault_text import faults

_WRONG_SHOWN: Final = 5


class ConvLayer(NamedTuple):
    """One strided convolution over time, without bias."""

    channels: Annotated[int, Field(ge=1, le=65536)]
    kernel: Annotated[int, Field(ge=1, le=1024)]
    stride: Annotated[int, Field(ge=1, le=1024)]


BASE_CONV_LAYERS: Final = (ConvLayer(512, 10, 5), *4 * (ConvLayer(512, 3, 2),), *2 * (ConvLayer(512, 2, 2),))


class HubertConfig(BaseModel):
    """Sizes of the encoder up to the layer that is used; the defaults are HuBERT base's. Lengths in samples."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["hubert"] = "hubert"
    units: int = Field(100, ge=1, le=32768)
    """Centroids."""
    layer: int = Field(6, ge=1, le=1000)
    """The transformer layer whose output is clustered, from 1; none above it is built."""
    dim: int = Field(768, ge=2, le=65536)
    heads: int = Field(12, ge=1, le=1024)
    ffn_dim: int = Field(3072, ge=1, le=1 << 20)
    conv_layers: tuple[ConvLayer, ...] = Field(BASE_CONV_LAYERS, strict=False, max_length=32)
    conv_norm: Literal["group_norm"] = "group_norm"
    """Each channel of the first convolution is normalised over the clip, and nothing else in the stack."""
    layer_norm: Literal["post"] = "post"
    """Layer norm comes after the residual sum."""
    pos_conv_kernel: int = Field(128, ge=1, le=4096)
    pos_conv_groups: int = Field(16, ge=1, le=4096)
    sample_rate: int = Field(16_000, ge=4_000, le=192_000)
    chunk_samples: int = Field(1_600_000, ge=1, le=2**40)
    """Longer clips are cut into pieces of so many samples, which are encoded without sight of each other."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.conv_layers:
            raise ValueError("conv_layers is empty")
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) is not a multiple of heads ({self.heads})")
        if self.dim % self.pos_conv_groups:
            raise ValueError(f"dim ({self.dim}) is not a multiple of pos_conv_groups ({self.pos_conv_groups})")
        if self.chunk_samples < self.window_samples:
            raise ValueError(f"chunk_samples ({self.chunk_samples}) is less than a frame sees ({self.window_samples})")
        return self

    @property
    def hop_samples(self) -> int:
        """Samples from frame to frame; 320 in base."""
        return math.prod(layer.stride for layer in self.conv_layers)

    @property
    def window_samples(self) -> int:
        """Samples that one frame of the convolutions sees; 400 in base."""
        window = 1
        for layer in reversed(self.conv_layers):
            window = (window - 1) * layer.stride + layer.kernel
        return window

    @property
    def frame_seconds(self) -> float:
        """Time from frame to frame."""
        return self.hop_samples / self.sample_rate

    def frames(self, samples: int) -> int:
        """Frames of a piece of at most ``chunk_samples``: 400 samples give 1, 720 give 2, 16000 give 49."""
        return max(0, (samples - self.window_samples) // self.hop_samples + 1)

    def encoder_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the encoder by its name."""
        first, last = self.conv_layers[0].channels, self.conv_layers[-1].channels
        shapes: dict[str, tuple[int, ...]] = {}
        channels = 1
        for index, layer in enumerate(self.conv_layers):
            shapes[f"feature_extractor.conv_layers.{index}.conv.weight"] = (layer.channels, channels, layer.kernel)
            channels = layer.channels
        shapes |= _pair("feature_extractor.conv_layers.0.layer_norm", (first,))
        shapes |= _pair("encoder.feature_projection.layer_norm", (last,))
        shapes |= _pair("encoder.feature_projection.projection", (self.dim, last))
        per_group = self.dim // self.pos_conv_groups
        shapes |= _pair("encoder.transformer.pos_conv_embed.conv", (self.dim, per_group, self.pos_conv_kernel))
        shapes |= _pair("encoder.transformer.layer_norm", (self.dim,))
        for index in range(self.layer):
            layer_name = f"encoder.transformer.layers.{index}"
            for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
                shapes |= _pair(f"{layer_name}.attention.{projection}", (self.dim, self.dim))
            shapes |= _pair(f"{layer_name}.layer_norm", (self.dim,))
            shapes |= _pair(f"{layer_name}.feed_forward.intermediate_dense", (self.ffn_dim, self.dim))
            shapes |= _pair(f"{layer_name}.feed_forward.output_dense", (self.dim, self.ffn_dim))
            shapes |= _pair(f"{layer_name}.final_layer_norm", (self.dim,))
        return shapes

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the tokenizer by its name: the encoder's and the ``centroids``."""
        return self.encoder_shapes() | {"centroids": (self.units, self.dim)}


def hubert_config(settings: Mapping[str, Any]) -> HubertConfig:
    """Checks settings that a user or a backbone gives.

    Raises:
        BackboneError: a setting is unknown or out of range.
    """
    try:
        return HubertConfig.model_validate(dict(settings))
    except ValidationError as error:
        wrong = faults(error, whole="hubert")
        raise BackboneError(f"tokenizer: {wrong}; correct the hubert settings") from error


def misfits(tensors: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What keeps the tensors from being exactly those expected, each of its shape, finite float32.

    Returns:
        Names of what is missing, extra, misshapen or not finite, the first few; empty if all is well.
    """
    wrong = [f"{name} is missing" for name in sorted(shapes.keys() - tensors.keys())]
    wrong += [f"{in_ascii(name)} is not part of it" for name in sorted(tensors.keys() - shapes.keys())]
    for name in sorted(shapes.keys() & tensors.keys()):
        tensor = tensors[name]
        if tensor.shape != shapes[name]:
            wrong.append(f"{name} has shape {list(tensor.shape)} instead of {list(shapes[name])}")
        elif tensor.dtype != np.float32:
            wrong.append(f"{name} is {tensor.dtype} instead of float32")
        elif not np.isfinite(tensor).all():
            wrong.append(f"{name} is not finite")
    return first_of(wrong, _WRONG_SHOWN, "; ")


def _pair(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """A weight and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
