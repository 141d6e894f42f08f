"""The states of a pass, mixed over the layers and summed over the positions, for all prompts that listen at once.

Shapes: N packed tokens of all rows, L layers, D dim, G prompts; of one prompt B rows, T positions of its longest, S
slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.prompting.readings.reading import LAYERS, UtteranceReading
from workers.unit_lm.engine.packing import Packing, starts_of, upload


@dataclass(frozen=True)
class BoundReading:
    """A reading with the tensors of one prompt.

    Attributes:
        reading: of the prompt.
        tensors: that it trains, by name.
    """

    reading: UtteranceReading
    tensors: Mapping[str, Tensor]


class Listening:
    """What the prompts of one pass hear; ``hear`` is its listener.

    Args:
        bound: reading of each prompt, [G]; ``None`` for one that does not listen.
        rows_of: rows of each prompt.
        heard: positions of each row that count, from its first on, int64 [rows], at least 1.
        packing: of the pass.
    """

    def __init__(
        self,
        bound: Sequence[BoundReading | None],
        *,
        rows_of: Sequence[slice],
        heard: NDArray[np.int64],
        packing: Packing,
    ) -> None:
        self._bound, self._rows_of, self._heard, self._packing = bound, rows_of, heard, packing
        self._mixed: Tensor | None = None
        self._weights = self._layer_weights()

    def hear(self, layer: int, states: Tensor) -> None:
        """Add the states of a layer, [N, D], with each token's weight of that layer."""
        part = self._weights[:, layer, None] * states.float()
        self._mixed = part if self._mixed is None else self._mixed + part

    def pooled(self) -> list[Tensor | None]:
        """Of each prompt that listens the weighted sum of its states for each slot, float32 [B, S, D]."""
        grids = iter(self._grids())
        return [None if bound is None else _sum(bound, *next(grids)) for bound in self._bound]

    def positions(self) -> list[Tensor | None]:
        """Of each prompt that listens what every position adds to that sum, float32 [B, S or 1, T, D]: nothing behind
        the end of a row."""
        grids = iter(self._grids())
        return [None if bound is None else _parts(bound, *next(grids)) for bound in self._bound]

    def _layer_weights(self) -> Tensor:
        """Weight of each layer for each token, [N, L]: that of its row's prompt, nothing where that does not listen."""
        lengths, parts = self._packing.lengths, []
        nothing = next(torch.zeros_like(bound.tensors[LAYERS]) for bound in self._bound if bound is not None)
        # Neither a product with zeros, which would spread what is not finite from prompt to prompt, nor a gather, whose
        # gradient is a sum in no fixed order on a GPU.
        for bound, rows in zip(self._bound, self._rows_of, strict=True):
            weights = nothing if bound is None else bound.tensors[LAYERS].softmax(dim=0)
            parts.append(weights.expand(int(lengths[rows].sum()), -1))
        return torch.cat([*parts, nothing.expand(self._packing.spare, -1)])

    def _grids(self) -> list[tuple[Tensor, Tensor]]:
        """Of each prompt that listens its mixed states, [B, T, D], and which places are behind the end of a row."""
        assert self._mixed is not None  # noqa: S101
        device, starts = self._mixed.device, starts_of(self._packing.lengths)
        cells, outside = [], []
        for bound, rows in zip(self._bound, self._rows_of, strict=True):
            if bound is None:
                continue
            lengths = self._heard[rows, None]
            positions = np.arange(lengths.max())[None]
            cells.append(starts[rows, None] + np.minimum(positions, lengths - 1))
            outside.append(upload(positions >= lengths, device))
        gathered = self._mixed.index_select(0, upload(np.concatenate([part.ravel() for part in cells]), device))
        parts = torch.split(gathered, [part.size for part in cells])
        return [
            (states.view(*cell.shape, -1), behind) for states, cell, behind in zip(parts, cells, outside, strict=True)
        ]


def _parts(bound: BoundReading, states: Tensor, outside: Tensor) -> Tensor:
    weights = bound.reading.position_weights(bound.tensors, states, outside)
    return weights.transpose(1, 2)[..., None] * states[:, None]


def _sum(bound: BoundReading, states: Tensor, outside: Tensor) -> Tensor:
    weights = bound.reading.position_weights(bound.tensors, states, outside)
    return weights.transpose(1, 2) @ states
