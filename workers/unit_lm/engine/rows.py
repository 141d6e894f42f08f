"""What goes into one pass of a unit LM: its rows, the prompts they attend to, and the positions that are read.

Shapes: B rows, N packed tokens of all rows, P prefix vectors, D dim, S read positions a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.engine.packing import Packing, upload

Listener = Callable[[int, Tensor], None]
"""Is given what the attention of each layer sees of the tokens of a pass: the layer's number and [N, D]."""


@dataclass(frozen=True)
class Rows:
    """Packed rows, each the LM's start token, units, and whatever follows them.

    Attributes:
        tokens: int64 [N], on the LM's device.
        packing: where they stand.
        prosody: of each row's units, for an LM that reads it; ``None`` for a row without.
        prosody_positions: positions of each row, from its first on, that take the prosody of the unit before them,
            int64 [B], on the host; the positions behind them take none.
        vector_at: tokens that trained vectors replace, int64; ``None`` for none.
    """

    tokens: Tensor
    packing: Packing
    prosody: Sequence[UnitProsody | None]
    prosody_positions: NDArray[np.int64]
    vector_at: Tensor | None = None

    @classmethod
    def of_units(
        cls,
        tokens: Sequence[NDArray[np.int64]],
        prosody: Sequence[UnitProsody] | None,
        *,
        start: int,
        end: Sequence[int] = (),
        device: torch.device | str,
        spare: int = 0,
    ) -> Self:
        """Rows of units alone, without a prompt.

        Args:
            tokens: of each row's units, int64 [T].
            prosody: of each row's units; ``None`` for none.
            start: the LM's start token.
            end: tokens after the units of every row.
            device: of the LM.
            spare: see ``Packing``.
        """
        pieces = [np.array(part, dtype=np.int64) for row in tokens for part in ([start], row, end)]
        lengths = np.array([1 + len(row) + len(end) for row in tokens], dtype=np.int64)
        return cls(
            tokens=upload(np.concatenate(pieces), device),
            packing=Packing.of(lengths, device, spare=spare),
            prosody=[None] * len(lengths) if prosody is None else prosody,
            prosody_positions=lengths,
        )


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
