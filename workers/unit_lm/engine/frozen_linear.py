"""Linear maps whose weights never change: no gradient of a weight, no activation kept for one.

On CPUs the products go through oneDNN, which torch itself uses for bfloat16 only: its float32 kernels use AVX-512 on
every CPU that has it, while MKL's take AVX2 on all but Intel's and need twice the time.

Shapes: N tokens, D inputs, E outputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Projection(nn.Linear):
    """A linear map whose weights are undefined until ``initialise`` or ``load_state_dict`` sets them."""

    _cast: tuple[Tensor, Tensor, Tensor | None] | None = None

    def reset_parameters(self) -> None:
        # Torch would draw numbers that are never used, and on the meta device import its compiler to do so.
        pass

    @property
    def frozen(self) -> bool:
        return not self.weight.requires_grad

    def weights_as(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Weight [E, D] and bias [E] in a type; a frozen map converts them once and keeps them."""
        if dtype == self.weight.dtype:
            return self.weight, self.bias
        if self._cast is None or self._cast[0] is not self.weight or self._cast[1].dtype != dtype:
            bias = self.bias
            with torch.no_grad():
                self._cast = self.weight, self.weight.to(dtype), None if bias is None else bias.to(dtype)
        return self._cast[1:]


def linear(x: Tensor, maps: Sequence[Projection], *, wanted: Tensor | None = None) -> tuple[Tensor, ...]:
    """Several maps of the same tokens, [N, D] to [N, E] each.

    Args:
        x: the tokens.
        maps: all frozen, or all trained.
        wanted: tokens whose gradient is wanted, int64; the others' is zero. ``None``: all.
    """
    if not maps[0].frozen:
        return tuple(each(x) for each in maps)
    weights = [each.weights_as(_compute_dtype(x)) for each in maps]
    outputs: tuple[Tensor, ...] = _Maps.apply(x, wanted, weights)  # type: ignore[no-untyped-call]
    return outputs


def feed_forward(x: Tensor, fc1: Projection, fc2: Projection) -> Tensor:
    """``fc2(relu(fc1(x)))``, [N, D] to [N, D]."""
    if not fc1.frozen:
        return cast(Tensor, fc2(F.relu(fc1(x))))
    dtype = _compute_dtype(x)
    return cast(Tensor, _FeedForward.apply(x, fc1.weights_as(dtype), fc2.weights_as(dtype)))  # type: ignore[no-untyped-call]


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """``x @ weight.T + bias``, [N, D] to [N, E], all of one type."""
    if x.device.type == "cpu" and _onednn(x.dtype):
        # Gradients may come expanded or transposed.
        x = x.contiguous()
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu" if relu else "none", [], "")
        return out
    out = F.linear(x, weight, bias)
    return out.relu_() if relu else out


def _compute_dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    if kind == "meta":
        return torch.float32
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


@cache
def _onednn(dtype: torch.dtype) -> bool:
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


Weights = tuple[Tensor, Tensor | None]


class _Maps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, wanted: Tensor | None, maps: Sequence[Weights]) -> tuple[Tensor, ...]:
        ctx.wanted, ctx.maps, ctx.dtype = wanted, maps, x.dtype
        cast = x.to(maps[0][0].dtype)
        return tuple(product(cast, weight, bias) for weight, bias in maps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        wanted: Tensor | None = ctx.wanted
        parts = [
            product(gradient if wanted is None else gradient.index_select(0, wanted), weight.t()).to(ctx.dtype)
            for gradient, (weight, _) in zip(gradients, ctx.maps, strict=True)
        ]
        total = parts[0]
        for part in parts[1:]:
            total += part
        if wanted is not None:
            total = total.new_zeros(len(gradients[0]), total.shape[1]).index_copy_(0, wanted, total)
        return total, None, None


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Weights, second: Weights) -> Tensor:
        hidden = product(x.to(first[0].dtype), *first, relu=True)
        ctx.save_for_backward(hidden)
        ctx.weights, ctx.dtype = (first[0], second[0]), x.dtype
        return product(hidden, *second)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        [hidden] = ctx.saved_tensors
        first, second = ctx.weights
        inner = torch.ops.aten.threshold_backward(product(gradient, second.t()), hidden, 0)
        return product(inner, first.t()).to(ctx.dtype), None, None
