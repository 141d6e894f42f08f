"""Layers whose weights never change, laid out once for the processor they run on.

On a CPU, oneDNN computes from weights in blocks of its own. Torch lays them out anew in every call, or leaves the
product to MKL, which knows only some processors well; laid out beforehand, a product is up to twice as fast.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
