"""Causal attention of packed rows, each with the key and value prefix of its own prompt.

Rows of similar lengths share a padded grid. Tokens are gathered into grids and outputs back through index tensors that
are made once for all layers, and the gradient of a gather is the gather with the inverse index, not a scatter.
On CPUs the grids are plain batched products in float32, which beat torch's fused CPU attention at speech lengths; long
rows take the fused one, which keeps no scores. On GPUs without mixed prompt lengths there are no grids at all
(``torch.nn.attention.varlen``).

Shapes: N packed tokens, H heads, D dim, P prefix vectors, G prompts, B rows, S reads of a row; "cells" are places in
the grids of one head each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.backbone.length_groups import length_groups
from workers.backbone.packing import Packing, starts_of, upload

FUSED_FROM = 384
"""Tokens from which a grid's scores are not worth keeping."""


@dataclass(frozen=True)
class Queries:
    """The asking side: which queries stand in which cells.

    Attributes:
        cells_from: query (of one head) of each cell, int64 [cells].
        back: cell of each query of each head, int64 [queries * H].
        empty: cells that only fill a grid, int64, or ``None``.
        lengths: queries of a row in each group.
        biases: 0 where a query sees a key and -inf elsewhere, float32 [1 or B * H, queries, keys], of each group.
    """

    cells_from: Tensor
    back: Tensor
    empty: Tensor | None
    lengths: list[int]
    biases: list[Tensor]


@dataclass(frozen=True)
class Keys:
    """The answering side.

    Attributes:
        cells_from: row of [prefixes; tokens] (of one head) of each cell, int64 [cells].
        back: cell of each token of each head, int64 [N * H].
        prefix_cells: cells of the prefix of every row, int64 [B * P * H].
        prompts: prompt of every row, in the order of ``prefix_cells``, int64 [B].
        lengths: keys of a row in each group.
    """

    cells_from: Tensor
    back: Tensor
    prefix_cells: Tensor
    prompts: Tensor
    lengths: list[int]


class AttentionPlan:
    """Where everything stands in the grids of one pass, for all its layers.

    Args:
        packing: the rows.
        heads: attention heads.
        prompts: prompts there are, G.
        prefix: prefix vectors of each, P.
        row_prompt: prompt of each row, int64 [B]; ``None`` without prefix.
        prefix_lengths: prefix vectors that each prompt has, int64 [G]; ``None``: all.
        offsets: position in its row of each read, int64 [B, S]; ``None`` without reads.
        group_cost: see ``length_groups``.
    """

    def __init__(
        self,
        packing: Packing,
        *,
        heads: int,
        prompts: int = 0,
        prefix: int = 0,
        row_prompt: NDArray[np.int64] | None = None,
        prefix_lengths: NDArray[np.int64] | None = None,
        offsets: NDArray[np.int64] | None = None,
        group_cost: int = 0,
    ) -> None:
        self.heads = heads
        self._lengths, self._device = packing.lengths, packing.offsets.device
        self._tokens = len(packing.offsets)
        self._prompts, self._prefix, self._offsets = prompts, prefix, offsets
        self._row_prompt = np.zeros(len(self._lengths), dtype=np.int64) if row_prompt is None else row_prompt
        self._prefix_lengths = prefix_lengths
        self._starts = starts_of(self._lengths)
        self.groups = length_groups(self._lengths, prefix=prefix, cost=group_cost)
        self._longest = [int(self._lengths[rows].max()) for rows in self.groups]

    @cached_property
    def keys(self) -> Keys:
        prefix, heads = self._prefix, self.heads
        first_token = self._prompts * prefix
        sources, backs, prefix_cells = [], np.zeros((self._tokens, heads), dtype=np.int64), []
        place = 0
        for rows, longest in zip(self.groups, self._longest, strict=True):
            from_prefix = self._row_prompt[rows][:, None] * prefix + np.arange(prefix)
            source = np.concatenate([from_prefix, first_token + self._grid(rows, longest)], axis=1)
            sources.append(_by_head(source, heads))
            cells = place + np.arange(sources[-1].size).reshape(len(rows), heads, prefix + longest)
            prefix_cells.append(cells[:, :, :prefix].transpose(0, 2, 1))
            self._place_back(backs, rows, cells[:, :, prefix:])
            place += cells.size
        return Keys(
            cells_from=self._upload(sources),
            back=self._upload([backs]),
            prefix_cells=self._upload(prefix_cells),
            prompts=self._upload([self._row_prompt[rows] for rows in self.groups]),
            lengths=[prefix + longest for longest in self._longest],
        )

    @cached_property
    def queries(self) -> Queries:
        """Every token asks."""
        heads = self.heads
        sources, empty, biases = [], [], []
        backs = np.zeros((self._tokens, heads), dtype=np.int64)
        place = 0
        for rows, longest in zip(self.groups, self._longest, strict=True):
            sources.append(_by_head(self._grid(rows, longest), heads))
            cells = place + np.arange(sources[-1].size).reshape(len(rows), heads, longest)
            self._place_back(backs, rows, cells)
            outside = np.arange(longest) >= self._lengths[rows][:, None]
            empty.append(cells.transpose(0, 2, 1)[outside])
            biases.append(self._bias(rows, longest, np.arange(longest)[None]))
            place += cells.size
        unused = np.concatenate([part.reshape(-1) for part in empty])
        return Queries(
            cells_from=self._upload(sources),
            back=self._upload([backs]),
            empty=upload(unused, self._device) if len(unused) else None,
            lengths=self._longest,
            biases=biases,
        )

    @cached_property
    def reads(self) -> Queries:
        """Only the reads ask, [B * S] row by row."""
        assert self._offsets is not None  # noqa: S101
        heads, count = self.heads, self._offsets.shape[1]
        numbers = np.arange(self._offsets.size).reshape(self._offsets.shape)
        sources = [_by_head(numbers[rows], heads) for rows in self.groups]
        order = np.concatenate([source.reshape(-1) for source in sources])
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        biases = [
            self._bias(rows, longest, self._offsets[rows])
            for rows, longest in zip(self.groups, self._longest, strict=True)
        ]
        return Queries(upload(order, self._device), upload(back, self._device), None, [count] * len(biases), biases)

    def _grid(self, rows: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
        """Packed token of each place, [rows, longest]; a row's last token fills it up, so rows never meet."""
        offsets = np.minimum(np.arange(longest), self._lengths[rows][:, None] - 1)
        grid: NDArray[np.int64] = self._starts[rows][:, None] + offsets
        return grid

    def _place_back(self, backs: NDArray[np.int64], rows: NDArray[np.int64], cells: NDArray[np.int64]) -> None:
        """Write the cells [rows, H, longest] of all tokens of some rows into ``backs``, [N, H]."""
        inside = np.arange(cells.shape[2]) < self._lengths[rows][:, None]
        backs[self._grid(rows, cells.shape[2])[inside]] = cells.transpose(0, 2, 1)[inside]

    def _bias(self, rows: NDArray[np.int64], longest: int, offsets: NDArray[np.int64]) -> Tensor:
        """What queries at ``offsets`` ([rows or 1, queries]) see."""
        seen = np.arange(longest) <= offsets[..., None]
        prefix = np.ones((*seen.shape[:2], self._prefix), dtype=bool)
        if self._prefix_lengths is not None:
            own = np.arange(self._prefix) < self._prefix_lengths[self._row_prompt[rows]][:, None]
            prefix = np.repeat(own[:, None], seen.shape[1], axis=1)
            seen = np.broadcast_to(seen, (len(rows), *seen.shape[1:]))
        bias = np.where(np.concatenate([prefix, seen], axis=2), np.float32(0), np.float32(-np.inf))
        return upload(bias if len(bias) == 1 else np.repeat(bias, self.heads, axis=0), self._device)

    def _upload(self, arrays: Sequence[NDArray[np.int64]]) -> Tensor:
        return upload(np.concatenate([array.reshape(-1) for array in arrays]), self._device)


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    prefix: tuple[Tensor, Tensor] | None,
    plan: AttentionPlan,
    *,
    reads: bool,
) -> Tensor:
    """Attention of packed queries; [N, D], or [B * S, D] of reads.

    Args:
        queries: [N, D], or [B * S, D] of reads.
        keys, values: of all tokens, [N, D].
        prefix: projected keys and values of the prompts, 2 x [G, P, D].
        plan: where everything stands.
        reads: whether only the reads ask.
    """
    asking = plan.reads if reads else plan.queries
    heads, width = plan.heads, queries.shape[-1] // plan.heads
    key_cells = _KeyCells.apply(keys, None if prefix is None else prefix[0], plan)  # type: ignore[no-untyped-call]
    value_cells = _KeyCells.apply(values, None if prefix is None else prefix[1], plan)  # type: ignore[no-untyped-call]
    query_cells = _Gather.apply(  # type: ignore[no-untyped-call]
        queries.reshape(-1, width), asking.cells_from, asking.back, None
    )
    if queries.device.type == "cpu":
        query_cells, key_cells, value_cells = query_cells.float(), key_cells.float(), value_cells.float()
    counts = [len(rows) * heads for rows in plan.groups]
    asked = query_cells.split([count * length for count, length in zip(counts, asking.lengths, strict=True)])
    sizes = [count * length for count, length in zip(counts, plan.keys.lengths, strict=True)]
    grids = zip(counts, asked, key_cells.split(sizes), value_cells.split(sizes), asking.biases, strict=True)
    with torch.autocast("cpu", enabled=False):
        outputs = [
            _attend_grid(*(part.view(count, -1, width) for part in parts), bias).reshape(-1, width)
            for count, *parts, bias in grids
        ]
    together = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
    attended: Tensor = _Gather.apply(  # type: ignore[no-untyped-call]
        together, asking.back, asking.cells_from, asking.empty
    )
    return attended.view(queries.shape)


def _attend_grid(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention in one grid; queries [rows * H, queries, width], keys and values [rows * H, keys, width]."""
    if queries.device.type == "cpu" and keys.shape[1] < FUSED_FROM:
        scale = 1 / math.sqrt(queries.shape[-1])
        return torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=scale).softmax(dim=-1) @ values
    # The fused kernels want four dimensions.
    parts = (part[None] for part in (queries, keys, values))
    return F.scaled_dot_product_attention(*parts, attn_mask=bias.to(queries.dtype)[None])[0]


class _Gather(torch.autograd.Function):
    """``x[there]``, where ``back`` finds every row of ``x`` again and ``empty`` rows of the gradient are zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, back: Tensor, empty: Tensor | None) -> Tensor:
        ctx.back, ctx.empty = back, empty
        return x.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        found = gradient.index_select(0, ctx.back)
        if ctx.empty is not None:
            found.index_fill_(0, ctx.empty, 0)
        return found, None, None, None


class _KeyCells(torch.autograd.Function):
    """Keys (or values) of tokens [N, D] and of prompts [G, P, D] in their cells, [cells, D / H]."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, prefix: Tensor | None, plan: AttentionPlan) -> Tensor:
        ctx.plan, ctx.shape = plan, None if prefix is None else prefix.shape
        source = tokens if prefix is None else torch.cat([prefix.flatten(0, 1).to(tokens.dtype), tokens])
        return source.reshape(-1, tokens.shape[1] // plan.heads).index_select(0, plan.keys.cells_from)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        keys: Keys = ctx.plan.keys
        tokens = gradient.index_select(0, keys.back).view(-1, gradient.shape[1] * ctx.plan.heads)
        if ctx.shape is None or not ctx.needs_input_grad[1]:
            return tokens, None, None
        of_rows = gradient.index_select(0, keys.prefix_cells).view(len(keys.prompts), -1)
        prefix = gradient.new_zeros(ctx.shape[0], of_rows.shape[1]).index_add_(0, keys.prompts, of_rows)
        return tokens, prefix.view(ctx.shape), None


def _by_head(numbers: NDArray[np.int64], heads: int) -> NDArray[np.int64]:
    """Places of whole vectors as places of their heads' parts, [rows, length] to [rows, H, length]."""
    places: NDArray[np.int64] = numbers[:, None, :] * heads + np.arange(heads)[:, None]
    return places
