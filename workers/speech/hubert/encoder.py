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
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from workers.speech.hubert.config import HubertConfig
from workers.speech.torchaudio_import import wav2vec2_model

# Frames that the positional convolution computes at a time on a CPU. oneDNN compiles a kernel for every new shape,
# which takes longer than using it; of this shape there is only one.
_FRAMES: Final = 32


def packs(device: torch.device) -> bool:
    """Whether weights are laid out for oneDNN there."""
    return device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Product(nn.Module):
    """A linear map, [..., inputs] to [..., outputs], and GELU where wanted.

    Args:
        weight: float32 [outputs, inputs].
        bias: float32 [outputs].
        gelu: whether GELU follows.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self._gelu = gelu
        self._packed = packs(weight.device)
        # The layout is for any number of rows.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if self._packed else weight
        self._bias = bias

    def forward(self, x: Tensor) -> Tensor:
        if self._packed:
            after = "gelu" if self._gelu else "none"
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, after, [], "none")
            return product
        x = F.linear(x, self._weight, self._bias)
        return F.gelu(x) if self._gelu else x


class WindowProduct(nn.Module):
    """A strided convolution over time and GELU, [B, T, C] to [B, windows, channels], as a product of windows.

    Args:
        weight: of the convolution, float32 [channels, C, kernel].
        stride: frames from window to window.
    """

    def __init__(self, weight: Tensor, *, stride: int) -> None:
        super().__init__()
        self._kernel, self._stride = weight.shape[2], stride
        self._product = Product(weight.transpose(1, 2).flatten(1).contiguous(), None, gelu=True)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.unfold(1, self._kernel, self._stride).transpose(2, 3).flatten(2)  # [B, windows, kernel * C]
        product: Tensor = self._product(windows)
        return product


class PackedPositions(nn.Module):
    """A grouped convolution with zeros on both sides, [B, C, T] to [B, C, T + 2 * padding - kernel + 1].

    Args:
        conv: the convolution, of stride 1, on a CPU with oneDNN.
    """

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        (self._kernel,), self._groups, self._padding = conv.kernel_size, conv.groups, int(conv.padding[0])
        self._bias = conv.bias
        shape = [1, conv.in_channels, 1, _FRAMES + self._kernel - 1]
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(
            conv.weight[:, :, None], [0, 0], [1, 1], [1, 1], self._groups, shape
        )

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[2] + 2 * self._padding - self._kernel + 1
        missing = -frames % _FRAMES
        x = F.pad(x.transpose(1, 2), (0, 0, self._padding, self._padding + missing))  # [B, T, C]
        pieces = [self._piece(x[:, first : first + _FRAMES + self._kernel - 1]) for first in range(0, frames, _FRAMES)]
        return torch.cat(pieces, dim=2)[:, :, :frames]

    def _piece(self, x: Tensor) -> Tensor:
        image = x.transpose(1, 2)[:, :, None]  # [B, C, 1, frames], channels last in memory
        convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
            image, self._weight, self._bias, [0, 0], [1, 1], [1, 1], self._groups, "none", [], "none"
        )
        return convolved[:, :, 0]


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
        hidden, frames = self._hidden(waves)
        return [row[:count] for row, count in zip(hidden[-1], frames, strict=True)]

    def layer_sums(self, waves: Sequence[NDArray[np.float32]]) -> list[tuple[Tensor, int]]:
        """Outputs of every layer up to ``config.layer``, summed over the frames of each piece.

        Args:
            waves: as for ``features``.

        Returns:
            For each piece the sums, float64 [layers, dim], on the device, and the number of frames.
        """
        hidden, frames = self._hidden(waves)
        return [
            (torch.stack([layer[row, :count].sum(0, dtype=torch.float64) for layer in hidden]), count)
            for row, count in enumerate(frames)
        ]

    def _hidden(self, waves: Sequence[NDArray[np.float32]]) -> tuple[list[Tensor], list[int]]:
        """Outputs of every layer, float32 [pieces, longest, dim], and the number of frames of each piece."""
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            lengths = [len(wave) for wave in waves]
            batch = torch.zeros(len(waves), max(lengths))
            for row, wave in zip(batch, waves, strict=True):
                row[: len(wave)] = torch.tensor(wave)
            convolved = self.convolve(batch.to(self.device), lengths)
            frames = [self.config.frames(length) for length in lengths]
            # Without a mask where nothing is padded: attention has a faster kernel then.
            mask = torch.tensor(frames, device=self.device) if min(frames) < max(frames) else None
            return self._encoder.extract_features(convolved, mask), frames

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
