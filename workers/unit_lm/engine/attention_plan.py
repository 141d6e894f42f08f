"""Where queries and keys of packed rows stand in the padded grids of attention; made once a pass, on the host.

Shapes: N packed tokens, H heads, P prefix vectors, G prompts, B rows, S reads of a row; "cells" are places in the
grids of one head each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workers.unit_lm.engine.packing import Packing, starts_of, upload
from workers.unit_lm.engine.rows import Prefix, Reads


def length_groups(lengths: NDArray[np.int64], *, prefix: int = 0, cost: int) -> list[NDArray[np.int64]]:
    """Rows parted into groups of similar lengths, with the least computed cells.

    Rows of n tokens in a group whose longest has T compute T x (prefix + T) scores each. The parting is the best one
    (a shortest path over the distinct lengths, rounded up to multiples of 4).

    Args:
        lengths: tokens of each row, int64 [rows].
        prefix: keys of each row besides its tokens.
        cost: cells that one more group is worth; a grid of 8 rows of 85 tokens has 60,000.

    Returns:
        Rows of each group, shorter groups first; within a group in their order.
    """
    rounded = -(-lengths // 4) * 4
    sizes, counts = np.unique(rounded, return_counts=True)
    area = sizes * (sizes + prefix)
    rows_before = np.concatenate([[0], np.cumsum(counts)])
    best = np.zeros(len(sizes) + 1)
    first = np.zeros(len(sizes) + 1, dtype=np.int64)
    for end in range(1, len(sizes) + 1):
        costs = best[:end] + (rows_before[end] - rows_before[:end]) * area[end - 1] + cost
        first[end] = int(costs.argmin())
        best[end] = costs[first[end]]
    groups = []
    end = len(sizes)
    while end:
        start = first[end]
        groups.append(np.flatnonzero((rounded >= sizes[start]) & (rounded <= sizes[end - 1])))
        end = int(start)
    return groups[::-1]


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

    @classmethod
    def of(
        cls, packing: Packing, prefix: Prefix | None, reads: Reads | None, *, heads: int, group_cost: int = 0
    ) -> AttentionPlan:
        """The plan of a pass as ``UnitLM.forward`` is given it."""
        offsets = None if reads is None else reads.offsets
        if prefix is None:
            return cls(packing, heads=heads, offsets=offsets, group_cost=group_cost)
        return cls(
            packing,
            heads=heads,
            prompts=len(prefix.keys),
            prefix=prefix.keys.shape[2],
            row_prompt=prefix.row_prompt,
            prefix_lengths=prefix.lengths,
            offsets=offsets,
            group_cost=group_cost,
        )

    @property
    def tokens(self) -> int:
        """Packed tokens of all rows, spare ones left out."""
        return int(self._lengths.sum())

    @property
    def mixed(self) -> bool:
        """Whether prompts have different lengths."""
        return self._prefix_lengths is not None

    @cached_property
    def row_keys(self) -> Keys:
        """Whole vectors of keys, row after row without padding: what variable-length kernels read."""
        return self._keys([np.array([row]) for row in range(len(self._lengths))], 1)

    @cached_property
    def row_ends(self) -> tuple[Tensor, Tensor]:
        """Where each row's queries and keys end, from 0 on, 2 x int32 [B + 1]."""
        ends = np.concatenate([[0], np.cumsum(self._lengths)]).astype(np.int32)
        prefixes = np.arange(len(ends), dtype=np.int32) * self._prefix
        return upload(ends, self._device), upload(ends + prefixes, self._device)

    @property
    def longest(self) -> tuple[int, int]:
        """Queries and keys of the longest row."""
        longest = int(self._lengths.max())
        return longest, longest + self._prefix

    @cached_property
    def keys(self) -> Keys:
        """Keys in the grids of the groups."""
        return self._keys(self.groups, self.heads)

    def _keys(self, groups: list[NDArray[np.int64]], heads: int) -> Keys:
        prefix = self._prefix
        first_token = self._prompts * prefix
        sources, backs, prefix_cells = [], np.zeros((self._tokens, heads), dtype=np.int64), []
        place = 0
        for rows in groups:
            longest = int(self._lengths[rows].max())
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
            prompts=self._upload([self._row_prompt[rows] for rows in groups]),
            lengths=[prefix + int(self._lengths[rows].max()) for rows in groups],
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


def _by_head(numbers: NDArray[np.int64], heads: int) -> NDArray[np.int64]:
    """Places of whole vectors as places of their heads' parts, [rows, length] to [rows, H, length]."""
    places: NDArray[np.int64] = numbers[:, None, :] * heads + np.arange(heads)[:, None]
    return places
