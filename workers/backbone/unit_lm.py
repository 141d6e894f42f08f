"""The unit language model GSLM: fairseq's ``transformer_lm_big`` over speech units.

Decoder-only, pre-norm with a final layer norm, ReLU, tied input and output embedding without output bias, embeddings
scaled by sqrt(dim), sinusoidal positions in two halves [sin, cos] that begin at ``pad + 1``.

Prompts enter as key/value prefixes (deep prompt tuning): per layer, vectors that pass through the layer's own
key and value projections and that every token attends to. The reference overwrites the keys and values of prompt
rows in the sequence instead, which gives the same numbers and computes those rows for nothing.

Shapes: B rows, N packed tokens of all rows, T longest row, P prefix vectors, H heads, D dim, S read positions a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.backbone.packing import Packing


class UnitLMConfig(BaseModel):
    """Sizes and special ids; the published model is 12 layers, dim 1024, 16 heads, ffn_dim 4096, vocabulary 104."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["gslm"] = "gslm"
    layers: int = Field(ge=1, le=1000)
    dim: int = Field(ge=2, le=65536)
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
        row_prompt: which prompt each row attends to, int64 [B].
        visible: which of the P vectors a prompt has, bool [prompts, P]; ``None`` when all prompts have P.
    """

    keys: Tensor
    values: Tensor
    row_prompt: Tensor
    visible: Tensor | None = None


@dataclass(frozen=True)
class Reads:
    """The only positions whose output is wanted.

    Attributes:
        tokens: packed token of each read, int64 [B * S], row by row.
        offsets: position of each read in its row, int64 [B, S].
    """

    tokens: Tensor
    offsets: Tensor


def sinusoids(positions: int, dim: int, pad: int) -> Tensor:
    """Sinusoidal position table, float32 [positions, dim]; row ``pad`` is zero (fairseq's, not interleaved)."""
    half = dim // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000) / (half - 1)))
    angles = torch.arange(positions, dtype=torch.float32)[:, None] * frequencies[None, :]
    table = torch.cat([angles.sin(), angles.cos()], dim=1)
    table[pad] = 0
    return table


class Projection(nn.Linear):
    """A linear map whose weights are undefined until ``initialise`` or ``load_state_dict`` sets them."""

    def reset_parameters(self) -> None:
        # Torch would draw numbers that are never used, and on the meta device import its compiler to do so.
        pass


class Layer(nn.Module):
    """One pre-norm transformer layer over packed tokens."""

    def __init__(self, config: UnitLMConfig, dropout: float) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
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
        packing: Packing,
        mask: Tensor | None,
        prefix: tuple[Tensor, Tensor] | None,
        reads: Reads | None,
    ) -> Tensor:
        """[N, D] to [N, D], or to [B * S, D] when only ``reads`` are wanted."""
        h = self.attention_norm(x)
        keys, values = packing.spread(self.k_proj(h)), packing.spread(self.v_proj(h))  # [B, T, D]
        if prefix is not None:
            keys, values = torch.cat([prefix[0], keys], dim=1), torch.cat([prefix[1], values], dim=1)
        if reads is None:
            queries = packing.spread(self.q_proj(h))
        else:
            x = x.index_select(0, reads.tokens)
            queries = self.q_proj(h.index_select(0, reads.tokens)).view(packing.rows, -1, h.shape[-1])
        attended = self._attend(queries, keys, values, mask)  # [B, T or S, D]
        attended = packing.collect(attended) if reads is None else attended.flatten(0, 1)
        x = x + self.dropout(self.out_proj(attended))
        out: Tensor = x + self.dropout(self.fc2(F.relu(self.fc1(self.ffn_norm(x)))))
        return out

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of each head; [B, queries, D]."""
        if queries.device.type == "cpu":
            # The CPU's bf16 attention kernel is several times slower than its fp32 one.
            queries, keys, values = queries.float(), keys.float(), values.float()
        with torch.autocast(queries.device.type, enabled=False):
            attended = F.scaled_dot_product_attention(
                self._by_head(queries),
                self._by_head(keys),
                self._by_head(values),
                attn_mask=mask,
                is_causal=mask is None,
            )
        return attended.transpose(1, 2).flatten(2)

    def _by_head(self, grid: Tensor) -> Tensor:
        return grid.view(*grid.shape[:2], self.heads, -1).transpose(1, 2)


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
        self, x: Tensor, packing: Packing, *, prefix: Prefix | None = None, reads: Reads | None = None
    ) -> Tensor:
        """Normed output states of packed inputs.

        Args:
            x: scaled token embeddings without positions, [N, D].
            packing: where the tokens stand.
            prefix: prompts, each row with its own; ``None`` for the bare LM.
            reads: positions wanted; the last layer then computes nothing else but keys and values.

        Returns:
            [N, D], or [B * S, D] with ``reads``. ``logits`` turns them into scores.
        """
        x = self.dropout(x + self._position_rows(packing, x))
        mask = self._mask(packing, prefix, None)
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            wanted = reads if index == last else None
            seen = mask if wanted is None else self._mask(packing, prefix, wanted)
            x = layer(x, packing, seen, self._project(layer, index, prefix), wanted)
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

    def _project(self, layer: nn.Module, index: int, prefix: Prefix | None) -> tuple[Tensor, Tensor] | None:
        """The layer's prefix keys and values of every row, 2 x [B, P, D]."""
        if prefix is None:
            return None
        keys = layer.get_submodule("k_proj")(prefix.keys[:, index])
        values = layer.get_submodule("v_proj")(prefix.values[:, index])
        return keys.index_select(0, prefix.row_prompt), values.index_select(0, prefix.row_prompt)

    @staticmethod
    def _mask(packing: Packing, prefix: Prefix | None, reads: Reads | None) -> Tensor | None:
        """What a query may see, bool [B or 1, 1, queries, P + T]; ``None`` for plain causal attention.

        Cells without a token stand behind all tokens of their row, so causality hides them.
        """
        if prefix is None and reads is None:
            return None
        device = packing.cells.device
        columns = torch.arange(packing.longest, device=device)
        queries = columns[None, :] if reads is None else reads.offsets
        tokens = columns <= queries[..., None]  # [B or 1, queries, T]
        if prefix is None:
            return tokens[:, None]
        if prefix.visible is None:
            seen = tokens.new_ones(*tokens.shape[:2], prefix.keys.shape[2])
        else:
            seen = prefix.visible.index_select(0, prefix.row_prompt)[:, None, :].expand(-1, tokens.shape[1], -1)
            tokens = tokens.expand(packing.rows, -1, -1)
        return torch.cat([seen, tokens], dim=-1)[:, None]
