"""Causal attention of packed rows, each with the key and value prefix of its own prompt.

Rows of similar lengths share a padded grid. Tokens are gathered into grids and outputs back through index tensors that
are made once for all layers, and the gradient of a gather is the gather with the inverse index, not a scatter.
On CPUs the grids are plain batched products in float32, which beat torch's fused CPU attention at speech lengths; long
rows take the fused one, which keeps no scores. On GPUs without mixed prompt lengths there are no grids at all
(``torch.nn.attention.varlen``).

Shapes: N packed tokens, H heads, D dim, P prefix vectors, G prompts, B rows, S reads of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.unit_lm.engine.attention_plan import AttentionPlan, Keys

FUSED_FROM = 384
"""Tokens from which a grid's scores are not worth keeping."""


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
    if not reads and _fits_varlen(queries, plan):
        return _attend_varlen(queries, keys, values, prefix, plan)
    asking = plan.reads if reads else plan.queries
    heads, width = plan.heads, queries.shape[-1] // plan.heads
    key_cells, value_cells = _key_cells(keys, values, prefix, plan.keys, width)
    query_cells = _Gather.apply(  # type: ignore[no-untyped-call]
        queries.reshape(-1, width), asking.cells_from, asking.back, None
    )
    if queries.device.type == "cpu":
        query_cells, key_cells, value_cells = query_cells.float(), key_cells.float(), value_cells.float()
    counts = [len(rows) * heads for rows in plan.groups]
    asked = torch.split(query_cells, [count * length for count, length in zip(counts, asking.lengths, strict=True)])
    sizes = [count * length for count, length in zip(counts, plan.keys.lengths, strict=True)]
    grids = zip(
        counts, asked, torch.split(key_cells, sizes), torch.split(value_cells, sizes), asking.biases, strict=True
    )
    outputs = []
    # The products below have the type of their inputs, in which a CPU's bfloat16 would be the slower one.
    with torch.autocast("cpu", enabled=False):
        for count, q, k, v, bias in grids:
            shape = count, -1, width
            outputs.append(_attend_grid(q.view(shape), k.view(shape), v.view(shape), bias).reshape(-1, width))
    together = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
    attended: Tensor = _Gather.apply(  # type: ignore[no-untyped-call]
        together, asking.back, asking.cells_from, asking.empty
    )
    return attended.view(queries.shape)


def _fits_varlen(queries: Tensor, plan: AttentionPlan) -> bool:
    half = queries.dtype in (torch.bfloat16, torch.float16)
    return queries.is_cuda and half and not plan.mixed


@cache
def varlen_attn() -> Callable[..., Tensor]:
    """Torch's kernel, imported only where it is used: it brings torch.export, which doubles what a process takes to
    start."""
    from torch.nn.attention.varlen import varlen_attn

    return cast("Callable[..., Tensor]", varlen_attn)


def _attend_varlen(
    queries: Tensor, keys: Tensor, values: Tensor, prefix: tuple[Tensor, Tensor] | None, plan: AttentionPlan
) -> Tensor:
    """Attention without grids; each row's queries are the last of its keys, so causality is that of the row's end."""
    row_keys, row_values = _key_cells(keys, values, prefix, plan.row_keys, queries.shape[-1])
    asked = queries[: plan.tokens].contiguous()
    parts = [part.view(len(part), plan.heads, -1) for part in (asked, row_keys, row_values)]
    attended = varlen_attn()(parts[0], parts[1], parts[2], *plan.row_ends, *plan.longest, window_size=(-1, 0))
    return F.pad(attended.flatten(1), (0, 0, 0, len(queries) - plan.tokens))


def _key_cells(
    keys: Tensor, values: Tensor, prefix: tuple[Tensor, Tensor] | None, places: Keys, width: int
) -> tuple[Tensor, Tensor]:
    prefix_keys, prefix_values = (None, None) if prefix is None else prefix
    return (
        _KeyCells.apply(keys, prefix_keys, places, width),  # type: ignore[no-untyped-call]
        _KeyCells.apply(values, prefix_values, places, width),  # type: ignore[no-untyped-call]
    )


def _attend_grid(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention in one grid; queries [rows * H, queries, width], keys and values [rows * H, keys, width]."""
    if queries.device.type == "cpu" and keys.shape[1] < FUSED_FROM:
        scale = 1 / math.sqrt(queries.shape[-1])
        return torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=scale).softmax(dim=-1) @ values
    # The fused kernels want four dimensions.
    return F.scaled_dot_product_attention(
        queries[None], keys[None], values[None], attn_mask=bias.to(queries.dtype)[None]
    )[0]


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
    """Keys (or values) of tokens [N, D] and of prompts [G, P, D] in their cells, [cells, width]."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, prefix: Tensor | None, places: Keys, width: int) -> Tensor:
        ctx.places, ctx.dim, ctx.shape = places, tokens.shape[1], None if prefix is None else prefix.shape
        source = tokens if prefix is None else torch.cat([prefix.flatten(0, 1).to(tokens.dtype), tokens])
        return source.reshape(-1, width).index_select(0, places.cells_from)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        places: Keys = ctx.places
        tokens = gradient.index_select(0, places.back).view(-1, ctx.dim)
        if ctx.shape is None or not ctx.needs_input_grad[1]:
            return tokens, None, None, None
        of_rows = gradient.index_select(0, places.prefix_cells).view(len(places.prompts), -1)
        prefix = gradient.new_zeros(ctx.shape[0], of_rows.shape[1]).index_add_(0, places.prompts, of_rows)
        return tokens, prefix.view(ctx.shape), None, None
