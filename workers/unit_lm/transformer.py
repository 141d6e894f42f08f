"""The body that GSLM and pGSLM share: fairseq's ``transformer_lm`` over speech units.

Decoder-only, pre-norm with a final layer norm, ReLU, tied input and output embedding without output bias, embeddings
scaled by sqrt(dim), sinusoidal positions in two halves [sin, cos] that begin at ``pad + 1``.

The reference overwrites the keys and values of prompt rows in the sequence; key/value prefixes give the same numbers
and do not compute those rows for nothing.

Shapes: B rows, N packed tokens of all rows, G prompts of P prefix vectors, D dim, S read positions a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.unit_lm.engine.attention_plan import AttentionPlan
from workers.unit_lm.engine.layer import Layer, sinusoids
from workers.unit_lm.engine.packing import Packing
from workers.unit_lm.engine.rows import Listener, Prefix, Reads, Rows
from workers.unit_lm.unit_lm import UnitLM, UnitLMConfig

GROUP_COST = 1_400_000
"""Cells of attention scores x dim that one more grid costs, measured on a CPU at dim 192 and 1024."""


class TransformerLM(UnitLM):
    """A unit LM with this body.

    Args:
        config: sizes and special ids.
        dropout: on embeddings and residual branches in training mode; the released model was trained with 0.1.
    """

    def __init__(self, config: UnitLMConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        # Given its weight, since drawing one on the meta device imports torch's compiler, which takes a second.
        self.embed = nn.Embedding(config.vocabulary, config.dim, _weight=torch.zeros(config.vocabulary, config.dim))
        self.layers = nn.ModuleList(Layer(config.dim, config.ffn_dim, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(dropout)
        self._positions = torch.zeros(0)

    @property
    def device(self) -> torch.device:
        return self.embed.weight.device

    @property
    def embed_scale(self) -> float:
        return math.sqrt(self.config.dim)

    def initialise(self, seed: int) -> None:
        """Draw fresh weights as fairseq does: embeddings N(0, 1/dim), Xavier-uniform projections, zero biases."""
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

    def token_vector(self, token: int) -> Tensor:
        return self.embed.weight[token].detach()

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Scaled embeddings of token ids, int64 [N] to [N, D], without positions."""
        embedded: Tensor = self.embed(tokens)
        return self.embed_scale * embedded

    def embed_rows(self, rows: Rows, vectors: Tensor | None = None) -> Tensor:
        x = self.embed_tokens(rows.tokens)
        if vectors is not None:
            assert rows.vector_at is not None  # noqa: S101
            x = x.index_copy(0, rows.vector_at, self.embed_scale * vectors)
        terms = self.stream_terms(rows)
        if terms is not None:
            x = x + terms
        return F.pad(x, (0, 0, 0, rows.packing.spare)) if rows.packing.spare else x

    def stream_terms(self, rows: Rows) -> Tensor | None:  # noqa: ARG002
        """What the LM hears besides units, to be added to their scaled embeddings, [N, D]; ``None`` for nothing."""
        return None

    def forward(
        self,
        x: Tensor,
        packing: Packing,
        *,
        prefix: Prefix | None = None,
        reads: Reads | None = None,
        trained: Tensor | None = None,
        listener: Listener | None = None,
    ) -> Tensor:
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
                None if listener is None else partial(listener, index),
            )
        normed: Tensor = self.norm(x)
        return normed

    def logits(self, states: Tensor) -> Tensor:
        return F.linear(states, self.embed.weight)

    def _position_rows(self, packing: Packing, like: Tensor) -> Tensor:
        first = self.config.pad + 1
        if len(self._positions) < first + packing.longest or self._positions.device != like.device:
            size = max(1024, 2 * packing.longest) + first
            self._positions = sinusoids(size, self.config.dim, self.config.pad).to(like.device)
        return self._positions.index_select(0, packing.offsets + first)

    def _plan(self, packing: Packing, prefix: Prefix | None, reads: Reads | None) -> AttentionPlan:
        cost = GROUP_COST // self.config.dim
        return AttentionPlan.of(packing, prefix, reads, heads=self.config.heads, group_cost=cost)

    @torch.no_grad()
    def attention_inputs(self, rows: Rows) -> Tensor:
        plan = self._plan(rows.packing, None, None)
        x = self.embed_rows(rows)
        x = x + self._position_rows(rows.packing, x)
        states = []
        for layer in self._layers():
            states.append(layer.attention_norm(x).float().cpu())
            x = layer(x, plan, None, None, None)
        return torch.stack(states)

    def project(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
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
