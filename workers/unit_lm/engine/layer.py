"""One layer of the transformer, and its positions.

Shapes: B rows, N packed tokens of all rows, G prompts of P prefix vectors, D dim, S read positions a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from workers.unit_lm.engine.attention import attend
from workers.unit_lm.engine.attention_plan import AttentionPlan
from workers.unit_lm.engine.frozen_linear import Projection, feed_forward, linear


def sinusoids(positions: int, dim: int, pad: int) -> Tensor:
    """Sinusoidal position table, float32 [positions, dim]; row ``pad`` is zero (fairseq's, not interleaved)."""
    half = dim // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000) / (half - 1)))
    angles = torch.arange(positions, dtype=torch.float32)[:, None] * frequencies[None, :]
    table = torch.cat([angles.sin(), angles.cos()], dim=1)
    table[pad] = 0
    return table


class Layer(nn.Module):
    """One pre-norm transformer layer over packed tokens."""

    def __init__(self, dim: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.q_proj = Projection(dim, dim)
        self.k_proj = Projection(dim, dim)
        self.v_proj = Projection(dim, dim)
        self.out_proj = Projection(dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.fc1 = Projection(dim, ffn_dim)
        self.fc2 = Projection(ffn_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        plan: AttentionPlan,
        prefix: tuple[Tensor, Tensor] | None,
        reads: Tensor | None,
        trained: Tensor | None,
        listener: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """[N, D] to [N, D], or to [B * S, D] when only ``reads`` are wanted."""
        h = self.attention_norm(x)
        if listener is not None:
            listener(h)
        if reads is None:
            queries, keys, values = linear(h, (self.q_proj, self.k_proj, self.v_proj), wanted=trained)
        else:
            keys, values = linear(h, (self.k_proj, self.v_proj), wanted=trained)
            x = x.index_select(0, reads)
            [queries] = linear(h.index_select(0, reads), (self.q_proj,))
        attended = attend(queries, keys, values, prefix, plan, reads=reads is not None)
        x = x + self.dropout(*linear(attended, (self.out_proj,)))
        out: Tensor = x + self.dropout(feed_forward(self.ffn_norm(x), self.fc1, self.fc2))
        return out

    def project(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Prompt vectors [..., P, D] as this layer's keys and values, like those of its tokens."""
        [projected_keys] = linear(keys, (self.k_proj,))
        [projected_values] = linear(values, (self.v_proj,))
        return projected_keys, projected_values
