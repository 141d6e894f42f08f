"""HuBERT up to the layer whose features are clustered: torchaudio's, rearranged for inference.

Torchaudio's modules do the arithmetic of the transformer. Changed are the convolutions, which become products of
windows, and the normalisation of the first of them, which torchaudio takes over the padding too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from workers.speech.frozen_layers import PackedPositions, Product, WindowProduct, packs
from workers.speech.hubert_config import HubertConfig
from workers.speech.torchaudio_import import wav2vec2_model

# Frames whose convolutions are computed at once, 0.3 MB each: as many as caches hold, or as fill a GPU.
_FRAMES_AT_ONCE: Final = {"cpu": 100, "cuda": 5000}


class HubertEncoder:
    """Waveforms to features.

    Args:
        config: sizes.
        tensors: the encoder's, as ``config.encoder_shapes`` names them; copied.
        device: where to compute.
    """

    def __init__(
        self, config: HubertConfig, tensors: Mapping[str, NDArray[np.float32]], *, device: torch.device | str = "cpu"
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        model = build_model(config)
        model.load_state_dict(
            {name: torch.tensor(tensors[name], device=self.device) for name in config.encoder_shapes()}, assign=True
        )
        first, *rest = model.feature_extractor.conv_layers
        self._first = _NormalisedConvolution(first)
        self._rest = nn.Sequential(*(WindowProduct(block.conv.weight, stride=block.stride) for block in rest))
        self._encoder = model.encoder
        _freeze(self._encoder)

    def features(self, waves: Sequence[NDArray[np.float32]]) -> list[Tensor]:
        """Features of pieces of audio, padded to the longest where they are several.

        Args:
            waves: float32 [samples] each, with a frame at least and at most ``config.chunk_samples``.

        Returns:
            For each piece the output of layer ``config.layer``, float32 [frames, dim], on the device.
        """
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            lengths = [len(wave) for wave in waves]
            batch = torch.zeros(len(waves), max(lengths))
            for row, wave in zip(batch, waves, strict=True):
                row[: len(wave)] = torch.tensor(wave)
            convolved = self.convolve(batch.to(self.device), lengths)
            frames = [self.config.frames(length) for length in lengths]
            # Without a mask where nothing is padded: attention has a faster kernel then.
            mask = torch.tensor(frames, device=self.device) if min(frames) < max(frames) else None
            hidden: Tensor = self._encoder.extract_features(convolved, mask)[-1]
            return [row[:count] for row, count in zip(hidden, frames, strict=True)]

    def convolve(self, waves: Tensor, lengths: Sequence[int]) -> Tensor:
        """The stack of convolutions.

        Args:
            waves: float32 [B, samples], zero after each clip's end.
            lengths: samples of each clip.

        Returns:
            float32 [B, frames, channels]; what stands behind a clip's last frame is without meaning.
        """
        weight, bias = self._first.normalised(waves, lengths)
        frames, hop = self.config.frames(waves.shape[1]), self.config.hop_samples
        count = math.ceil(frames * len(waves) / _FRAMES_AT_ONCE[self.device.type])
        # Pieces of one length, since oneDNN compiles kernels for every new one; so the last may overlap the one before.
        length = math.ceil(frames / count)
        pieces = []
        done = 0
        for start in [min(start, frames - length) for start in range(0, frames, length)]:
            piece = waves[:, start * hop : (start + length - 1) * hop + self.config.window_samples]
            pieces.append(self._rest(self._first(piece, weight, bias))[:, done - start :])
            done = start + length
        return torch.cat(pieces, dim=1)


def build_model(config: HubertConfig) -> Any:
    """Torchaudio's ``Wav2Vec2Model`` of those sizes with random weights and without weight norm, for inference."""
    # Torchaudio draws weights, which are then replaced: nobody else's random numbers may depend on that.
    with torch.random.fork_rng(devices=[]):
        model = wav2vec2_model(
            extractor_mode=config.conv_norm,
            extractor_conv_layer_config=[tuple(layer) for layer in config.conv_layers],
            extractor_conv_bias=False,
            encoder_embed_dim=config.dim,
            encoder_projection_dropout=0.0,
            encoder_pos_conv_kernel=config.pos_conv_kernel,
            encoder_pos_conv_groups=config.pos_conv_groups,
            encoder_num_layers=config.layer,
            encoder_num_heads=config.heads,
            encoder_attention_dropout=0.0,
            encoder_ff_interm_features=config.ffn_dim,
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=0.0,
            encoder_layer_norm_first=False,
            encoder_layer_drop=0.0,
            aux_num_out=None,
        )
    nn.utils.parametrize.remove_parametrizations(model.encoder.transformer.pos_conv_embed.conv, "weight")
    return model.eval().requires_grad_(False)


class _NormalisedConvolution:
    """The first convolution, group norm over time with one group per channel, and GELU.

    Mean and variance of a channel over time follow from those of the windows it sees, so the norm becomes part of each
    clip's own weights, and padding has no part in it.
    """

    def __init__(self, block: Any) -> None:
        self._stride: int = block.stride
        self._weight: Tensor = block.conv.weight[:, 0].double()  # [channels, kernel]
        self._gain, self._shift = block.layer_norm.weight.double(), block.layer_norm.bias.double()
        self._epsilon: float = block.layer_norm.eps

    def normalised(self, waves: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Weights [B, kernel, channels] and biases [B, 1, channels] of each clip."""
        weights, biases = [], []
        for wave, length in zip(waves, lengths, strict=True):
            windows = self._windows(wave[:length]).double()
            mean = windows.mean(0)
            centred = windows - mean
            covariance = centred.T @ centred / len(windows)
            variance = ((self._weight @ covariance) * self._weight).sum(1)
            weight = self._weight * (self._gain / (variance + self._epsilon).sqrt())[:, None]
            weights.append(weight.T)
            biases.append((self._shift - weight @ mean)[None])
        return torch.stack(weights).float(), torch.stack(biases).float()

    def __call__(self, waves: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.gelu(torch.baddbmm(bias, self._windows(waves).contiguous(), weight))

    def _windows(self, waves: Tensor) -> Tensor:
        return waves.unfold(-1, self._weight.shape[1], self._stride)


def _freeze(encoder: Any) -> None:
    """Replaces the layers that take the time."""
    if packs(encoder.feature_projection.projection.weight.device):
        positions = encoder.transformer.pos_conv_embed
        positions.conv = PackedPositions(positions.conv)
    for layer in encoder.transformer.layers:
        hidden, output = layer.feed_forward.intermediate_dense, layer.feed_forward.output_dense
        layer.feed_forward = nn.Sequential(
            Product(hidden.weight, hidden.bias, gelu=True), Product(output.weight, output.bias)
        )
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Product(child.weight, child.bias))
