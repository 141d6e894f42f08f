"""The unit language model GSLM: fairseq's ``transformer_lm_big`` over speech units.

Decoder-only, pre-norm with a final layer norm, ReLU, tied input and output embedding without output bias, embeddings
scaled by sqrt(dim), sinusoidal positions in two halves [sin, cos] that begin at ``pad + 1``.

Prompts enter as key/value prefixes (deep prompt tuning): per layer, vectors that pass through the layer's own
key and value projections and that every token attends to. The reference overwrites the keys and values of prompt
rows in the sequence instead, which gives the same numbers and computes those rows for nothing.

Shapes: B rows, N packed tokens of all rows, G prompts of P prefix vectors, D dim, S read positions a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.unit_lm.attention import attend
from workers.unit_lm.attention_plan import AttentionPlan
from workers.unit_lm.frozen_linear import Projection, feed_forward, maps_of
from workers.unit_lm.packing import Packing

GROUP_COST = 1_400_000
"""Cells of attention scores x dim that one more grid costs, measured on a CPU at dim 192 and 1024."""


class UnitLMConfig(BaseModel):
    """Sizes and special ids; the published model is 12 layers, dim 1024, 16 heads, ffn_dim 4096, vocabulary 104."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["gslm"] = "gslm"
    layers: int = Field(ge=1, le=1000)
    dim: int = Field(ge=4, le=65536)
    heads: int = Field(ge=1, le=1024)
    ffn_dim: int = Field(ge=1, le=1 << 20)
    vocabulary: int = Field(104, ge=5, le=1 << 20)
    bos: int = Field(0, ge=0)
    pad: int = Field(1, ge=0)
    eos: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} is not a multiple of twice the heads, {self.heads}")
        if max(self.bos, self.pad, self.eos) >= self.vocabulary:
            raise ValueError(f"a special token is outside the vocabulary of {self.vocabulary}")
        return self

    @property
    def start(self) -> int:
        """Token that every row begins with: here ``</s>``, which the published model never saw apart from ends."""
        return self.eos

    @property
    def outputs(self) -> int:
        """Scores at a position; the first ``vocabulary`` of them are those of the units."""
        return self.vocabulary


@dataclass(frozen=True)
class Prefix:
    """Key and value vectors of all layers, before the layers' own projections.

    Attributes:
        keys: [prompts, layers, P, D].
        values: [prompts, layers, P, D].
        row_prompt: which prompt each row attends to, int64 [B], on the host.
        lengths: how many of the P vectors each prompt has, int64 [prompts]; ``None`` when all prompts have P.
        projected: whether they went through the projections already (``UnitLM.project``).
    """

    keys: Tensor
    values: Tensor
    row_prompt: NDArray[np.int64]
    lengths: NDArray[np.int64] | None = None
    projected: bool = False


@dataclass(frozen=True)
class Reads:
    """The only positions whose output is wanted.

    Attributes:
        tokens: packed token of each read, int64 [B * S], row by row.
        offsets: position of each read in its row, int64 [B, S], on the host.
    """

    tokens: Tensor
    offsets: NDArray[np.int64]


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

    def __init__(self, config: UnitLMConfig, dropout: float) -> None:
        super().__init__()
        dim = config.dim
        self.attention_norm = nn.LayerNorm(dim)
        self.q_proj = Projection(dim, dim)
        self.k_proj = Projection(dim, dim)
        self.v_proj = Projection(dim, dim)
        self.out_proj = Projection(dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.fc1 = Projection(dim, config.ffn_dim)
        self.fc2 = Projection(config.ffn_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        plan: AttentionPlan,
        prefix: tuple[Tensor, Tensor] | None,
        reads: Tensor | None,
        trained: Tensor | None,
    ) -> Tensor:
        """[N, D] to [N, D], or to [B * S, D] when only ``reads`` are wanted."""
        h = self.attention_norm(x)
        if reads is None:
            queries, keys, values = maps_of(h, (self.q_proj, self.k_proj, self.v_proj), wanted=trained)
        else:
            keys, values = maps_of(h, (self.k_proj, self.v_proj), wanted=trained)
            x = x.index_select(0, reads)
            [queries] = maps_of(h.index_select(0, reads), (self.q_proj,))
        attended = attend(queries, keys, values, prefix, plan, reads=reads is not None)
        x = x + self.dropout(*maps_of(attended, (self.out_proj,)))
        out: Tensor = x + self.dropout(feed_forward(self.ffn_norm(x), self.fc1, self.fc2))
        return out

    def project(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Prompt vectors [..., P, D] as this layer's keys and values, like those of its tokens."""
        [projected_keys] = maps_of(keys, (self.k_proj,))
        [projected_values] = maps_of(values, (self.v_proj,))
        return projected_keys, projected_values


class UnitLM(nn.Module):
    """The language model over unit tokens.

    Args:
        config: sizes and special ids.
        dropout: on embeddings and residual branches in training mode; the released model was trained with 0.1.
    """

    def __init__(self, config: UnitLMConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        # Given its weight, since drawing one on the meta device imports torch's compiler, which takes a second.
        self.embed = nn.Embedding(config.vocabulary, config.dim, _weight=torch.zeros(config.vocabulary, config.dim))
        self.layers = nn.ModuleList(Layer(config, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(dropout)
        self._positions = torch.zeros(0)

    @property
    def embed_scale(self) -> float:
        return math.sqrt(self.config.dim)

    def initialise(self, seed: int) -> None:
        """Fresh weights, as fairseq draws them: embeddings N(0, 1/dim), Xavier-uniform projections, zero biases."""
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.embed.weight, std=self.config.dim**-0.5, generator=generator)
        with torch.no_grad():
            self.embed.weight[self.config.pad] = 0
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
                nn.init.xavier_uniform_(parameter, gain=2**-0.5, generator=generator)
            elif parameter.dim() == 2 and not name.startswith("embed"):
                nn.init.xavier_uniform_(parameter, generator=generator)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Scaled embeddings of token ids, int64 [N] to [N, D], without positions."""
        embedded: Tensor = self.embed(tokens)
        return self.embed_scale * embedded

    def forward(
        self,
        x: Tensor,
        packing: Packing,
        *,
        prefix: Prefix | None = None,
        reads: Reads | None = None,
        trained: Tensor | None = None,
    ) -> Tensor:
        """Normed output states of packed inputs.

        Args:
            x: scaled token embeddings without positions, [N, D].
            packing: where the tokens stand.
            prefix: prompts, each row with its own; ``None`` for the bare LM.
            reads: positions wanted; the last layer then computes nothing else but keys and values.
            trained: tokens whose inputs are trained, int64; the others' inputs get no gradient or a partial one, and
                the first layer saves that work. ``None``: all.

        Returns:
            [N, D], or [B * S, D] with ``reads``. ``logits`` turns them into scores.
        """
        plan = self._plan(packing, prefix, reads)
        x = self.dropout(x + self._position_rows(packing, x))
        last = len(self.layers) - 1
        for index, layer in enumerate(self._layers()):
            x = layer(
                x,
                plan,
                self._prefix_of(layer, index, prefix),
                None if reads is None or index < last else reads.tokens,
                trained if index == 0 else None,
            )
        normed: Tensor = self.norm(x)
        return normed

    def logits(self, states: Tensor) -> Tensor:
        """Scores of the next token, [N, D] to [N, config.outputs], through the tied embedding."""
        return F.linear(states, self.embed.weight)

    def _position_rows(self, packing: Packing, like: Tensor) -> Tensor:
        first = self.config.pad + 1
        if len(self._positions) < first + packing.longest or self._positions.device != like.device:
            size = max(1024, 2 * packing.longest) + first
            self._positions = sinusoids(size, self.config.dim, self.config.pad).to(like.device)
        return self._positions.index_select(0, packing.offsets + first)

    def _plan(self, packing: Packing, prefix: Prefix | None, reads: Reads | None) -> AttentionPlan:
        offsets = None if reads is None else reads.offsets
        heads, cost = self.config.heads, GROUP_COST // self.config.dim
        if prefix is None:
            return AttentionPlan(packing, heads=heads, offsets=offsets, group_cost=cost)
        return AttentionPlan(
            packing,
            heads=heads,
            prompts=len(prefix.keys),
            prefix=prefix.keys.shape[2],
            row_prompt=prefix.row_prompt,
            prefix_lengths=prefix.lengths,
            offsets=offsets,
            group_cost=cost,
        )

    def project(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """A prompt's vectors through the layers' own key and value projections, 2 x [layers, P, D]."""
        projected = [layer.project(keys[index], values[index]) for index, layer in enumerate(self._layers())]
        return torch.stack([pair[0] for pair in projected]), torch.stack([pair[1] for pair in projected])

    def _layers(self) -> Iterator[Layer]:
        return (cast(Layer, layer) for layer in self.layers)

    @staticmethod
    def _prefix_of(layer: Layer, index: int, prefix: Prefix | None) -> tuple[Tensor, Tensor] | None:
        """The layer's projected keys and values of the prompts, 2 x [G, P, D]."""
        if prefix is None:
            return None
        keys, values = prefix.keys[:, index], prefix.values[:, index]
        return (keys, values) if prefix.projected else layer.project(keys, values)
