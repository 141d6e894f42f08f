"""What pretraining minimises: the next unit, and for a multi-stream LM durations and F0 too.

Shapes: N packed tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.speech.sequences import UnitSequences
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.gslm import UnitLM, UnitLMConfig
from workers.unit_lm.packing import Packing
from workers.unit_lm.pgslm import MultistreamConfig, MultistreamLM, ProsodyInputs, shifted_streams


@dataclass(frozen=True)
class ProsodyTargets:
    """What a multi-stream LM is to say of durations and F0, and where it is asked; [N] each.

    Attributes:
        durations: ids (int64) or frames (float32).
        f0: bins (int64) or normalised log F0 (float32).
        units_asked: positions at which the unit is predicted, float32 zeros and ones; not the end of a row, whose
            prosody alone is due.
        prosody_asked: positions at which duration and F0 are predicted; not the begin of a row, which has none.
    """

    durations: Tensor
    f0: Tensor
    units_asked: Tensor
    prosody_asked: Tensor


@dataclass(frozen=True)
class PretrainBatch:
    """Rows to learn from: int64 inputs and targets [N], their packing, and their prosody if the LM has streams."""

    tokens: Tensor
    targets: Tensor
    packing: Packing
    prosody: tuple[ProsodyInputs, ProsodyTargets] | None = None


class Objective(nn.Module):
    """The objective as one module, so that data-parallel wrappers see a single forward pass.

    Args:
        lm: what is trained.
        duration_weight, f0_weight: of these streams' losses beside that of the units, which is 1.
    """

    def __init__(self, lm: UnitLM, *, duration_weight: float = 0.5, f0_weight: float = 0.5) -> None:
        super().__init__()
        self.lm = lm
        self._duration_weight, self._f0_weight = duration_weight, f0_weight

    def forward(self, batch: PretrainBatch) -> Tensor:
        """Summed losses over all positions that are asked: of units (nats), of durations and of F0 (nats, or absolute
        errors of continuous streams), float32 [3], each with its weight."""
        x = self.lm.embed_tokens(batch.tokens)
        if not isinstance(self.lm, MultistreamLM):
            logits = self.lm.logits(self.lm(x, batch.packing)).float()
            return torch.stack([F.cross_entropy(logits, batch.targets, reduction="sum"), *logits.new_zeros(2)])
        assert batch.prosody is not None  # noqa: S101
        heard, targets = batch.prosody
        states = self.lm(x + self.lm.prosody_terms(heard), batch.packing)
        units, durations, f0 = torch.split(self.lm.logits(states).float(), self.lm.config.channels, dim=-1)
        compare = F.cross_entropy if self.lm.config.discrete else _absolute_error
        losses = [
            (F.cross_entropy(units, batch.targets, reduction="none") * targets.units_asked).sum(),
            (compare(durations, targets.durations, reduction="none") * targets.prosody_asked).sum(),
            (compare(f0, targets.f0, reduction="none") * targets.prosody_asked).sum(),
        ]
        return torch.stack([losses[0], self._duration_weight * losses[1], self._f0_weight * losses[2]])


def row_tokens(config: UnitLMConfig) -> int:
    """Positions of a row besides its units: GSLM's start, which is also its end; pGSLM's begin and end."""
    return 2 if isinstance(config, MultistreamConfig) else 1


def pretrain_batch(
    config: UnitLMConfig,
    sequences: UnitSequences,
    rows: NDArray[np.int64],
    unit_tokens: NDArray[np.int64],
    device: torch.device | str,
) -> PretrainBatch:
    """Rows as inputs and targets: ``</s> u1 .. uT`` and ``u1 .. uT </s>``, or with streams ``<s> u1 .. uT </s>`` and
    ``u1 .. uT </s> <pad>`` (fairseq's ``speech_unit_modeling``)."""
    units = [unit_tokens[sequences[int(row)]] for row in rows]
    streams = isinstance(config, MultistreamConfig)
    before, after = [config.start], [config.eos] if streams else []
    tokens = np.concatenate([part for row in units for part in (before, row, after)]).astype(np.int64)
    end = [config.eos, config.pad] if streams else [config.eos]
    targets = np.concatenate([part for row in units for part in (row, end)])
    packing = Packing.of(sequences.lengths[rows] + row_tokens(config), device)
    prosody = None
    if isinstance(config, MultistreamConfig):
        heard = [sequences.prosody_of(int(row)) or UnitProsody.unknown(len(units[at])) for at, row in enumerate(rows)]
        prosody = _prosody(config, heard, device)
    return PretrainBatch(torch.from_numpy(tokens).to(device), torch.from_numpy(targets).to(device), packing, prosody)


def _prosody(
    config: MultistreamConfig, rows: Sequence[UnitProsody], device: torch.device | str
) -> tuple[ProsodyInputs, ProsodyTargets]:
    streams = [shifted_streams(config, row) for row in rows]
    asked = [np.ones(len(durations) - 1, dtype=np.float32) for durations, _ in streams]
    units_asked = [np.append(row[:-1], np.float32(0)) for row in asked]
    prosody_asked = [np.append(np.float32(0), row[:-1]) for row in asked]

    def put(arrays: Sequence[NDArray[np.int64] | NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.concatenate(arrays)).to(device)

    return (
        ProsodyInputs(put([durations[:-1] for durations, _ in streams]), put([f0[:-1] for _, f0 in streams])),
        ProsodyTargets(
            put([durations[1:] for durations, _ in streams]),
            put([f0[1:] for _, f0 in streams]),
            put(units_asked),
            put(prosody_asked),
        ),
    )


def _absolute_error(predicted: Tensor, target: Tensor, *, reduction: str) -> Tensor:
    return F.l1_loss(predicted.squeeze(-1), target, reduction=reduction)
