"""What pretraining minimises: how badly the next unit is predicted.

Shapes: N packed tokens of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.speech.sequences import UnitSequences
from workers.unit_lm.engine.packing import upload
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.unit_lm import UnitLM


@dataclass(frozen=True)
class PretrainBatch:
    """Rows to learn from, and the token that is right after each of theirs, int64 [N]."""

    rows: Rows
    targets: Tensor


class NextUnit(nn.Module):
    """The objective as one module, so that data-parallel wrappers see a single forward pass.

    A kind whose LM predicts more than units derives its own.

    Args:
        lm: what is trained.
    """

    streams: ClassVar[tuple[str, ...]] = ("unit",)
    """What is predicted, in the order of the losses; units come first."""
    row_tokens: ClassVar[int] = 1
    """Positions of a row besides its units."""

    def __init__(self, lm: UnitLM) -> None:
        super().__init__()
        self.lm = lm

    def batch(
        self, sequences: UnitSequences, chosen: NDArray[np.int64], unit_tokens: NDArray[np.int64]
    ) -> PretrainBatch:
        """Some sequences as inputs ``<start> u1 .. uT`` and targets ``u1 .. uT </s>``.

        Args:
            sequences: of units.
            chosen: their numbers, int64 [rows].
            unit_tokens: token id of each unit, int64 [units].
        """
        config, units = self.lm.config, [unit_tokens[sequences[int(row)]] for row in chosen]
        prosody = sequences.prosody_of_rows(chosen)
        rows = Rows.of_units(units, prosody, start=config.start, device=self.lm.device)
        targets = np.concatenate([part for row in units for part in (row, [config.eos])])
        return PretrainBatch(rows, upload(targets, self.lm.device))

    def forward(self, batch: PretrainBatch) -> Tensor:
        """Losses of each stream summed over all positions, in nats, float32 [streams]."""
        states = self.lm(self.lm.embed_rows(batch.rows), batch.rows.packing)
        return F.cross_entropy(self.lm.logits(states).float(), batch.targets, reduction="sum")[None]
