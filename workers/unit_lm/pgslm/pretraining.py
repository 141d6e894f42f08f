"""Pretraining of a pGSLM: its section of a file to pretrain, and losses of units, durations and F0.

Shapes: N packed tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.speech.prosody import bin_edges
from workers.speech.sequences import UnitSequences
from workers.speech.unit_prosody import ProsodySettings, UnitProsody
from workers.unit_lm.engine.packing import upload
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.objective import NextUnit, PretrainBatch
from workers.unit_lm.pgslm.config import SPECIAL_IDS, PGSLMConfig
from workers.unit_lm.pgslm.model import PGSLM
from workers.unit_lm.pgslm.streams import shifted_streams
from workers.unit_lm.section import UnitLMSection


class PGSLMSection(UnitLMSection):
    """A unit LM that also reads and predicts each unit's duration and F0."""

    kind: Literal["pgslm"] = "pgslm"
    streams: Literal["discrete", "continuous"] = "discrete"
    """``discrete``: durations and F0 are classes; ``continuous``: they are numbers."""
    duration_cap: int = Field(20, ge=1, le=10_000)
    """Longest duration in frames of discrete streams; longer ones count as this."""
    f0_bins: int = Field(32, ge=2, le=1024)
    """Number of bins of discrete F0, equally filled by the training rows."""
    ignore_duration: bool = False
    ignore_f0: bool = False
    prosody: ProsodySettings = Field(default_factory=lambda: ProsodySettings(f0_mean="utterance"))
    """How F0 is tracked and normalised; by default by utterance, since a service does not know speakers."""

    @property
    def prosody_settings(self) -> ProsodySettings:
        return self.prosody

    def lm_config(self, units: int, train: UnitSequences) -> tuple[PGSLMConfig, tuple[int, ...]]:
        edges: tuple[float, ...] = ()
        if self.streams == "discrete":
            assert train.prosody is not None  # noqa: S101
            edges = tuple(bin_edges(train.prosody.f0, bins=self.f0_bins).tolist())
        # As in the published pGSLM, the special tokens follow the units: begin, pad, end, unknown.
        config = PGSLMConfig(
            **self.sizes(),
            vocabulary=units + SPECIAL_IDS,
            bos=units,
            pad=units + 1,
            eos=units + 2,
            streams=self.streams,
            duration_cap=self.duration_cap,
            f0_edges=edges,
            ignore_duration=self.ignore_duration,
            ignore_f0=self.ignore_f0,
            prosody=self.prosody,
        )
        return config, tuple(range(units))


@dataclass(frozen=True)
class StreamsBatch(PretrainBatch):
    """A batch with what the LM is to say of durations and F0, and where it is asked; [N] each.

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


class NextUnitAndProsody(NextUnit):
    """The next unit, and this unit's duration and F0 (fairseq's ``speech_unit_modeling``)."""

    streams: ClassVar[tuple[str, ...]] = ("unit", "duration", "f0")
    row_tokens: ClassVar[int] = 2
    lm: PGSLM

    def batch(
        self, sequences: UnitSequences, chosen: NDArray[np.int64], unit_tokens: NDArray[np.int64]
    ) -> StreamsBatch:
        """Some sequences as inputs ``<s> u1 .. uT </s>`` and targets ``u1 .. uT </s> <pad>``."""
        config, units = self.lm.config, [unit_tokens[sequences[int(row)]] for row in chosen]
        prosody = sequences.prosody_of_rows(chosen) or [UnitProsody.unknown(len(row)) for row in units]
        rows = Rows.of_units(units, prosody, start=config.start, end=[config.eos], device=self.lm.device)
        streams = [shifted_streams(config, row) for row in prosody]
        asked = [np.ones(len(durations) - 1, dtype=np.float32) for durations, _ in streams]

        def put(arrays: Sequence[NDArray[np.int64] | NDArray[np.float32]]) -> Tensor:
            return upload(np.concatenate(arrays), self.lm.device)

        return StreamsBatch(
            rows,
            targets=put([part for row in units for part in (row, np.array([config.eos, config.pad]))]),
            durations=put([durations[1:] for durations, _ in streams]),
            f0=put([f0[1:] for _, f0 in streams]),
            units_asked=put([np.append(row[:-1], np.float32(0)) for row in asked]),
            prosody_asked=put([np.append(np.float32(0), row[:-1]) for row in asked]),
        )

    def forward(self, batch: StreamsBatch) -> Tensor:  # type: ignore[override]  # the batches that ``batch`` makes
        """Losses of units (nats), of durations and of F0 (nats, or absolute errors of continuous streams), summed over
        all positions that are asked, float32 [3]."""
        states = self.lm(self.lm.embed_rows(batch.rows), batch.rows.packing)
        units, durations, f0 = torch.split(self.lm.logits(states).float(), self.lm.config.channels, dim=-1)
        compare = F.cross_entropy if self.lm.config.discrete else _absolute_error
        return torch.stack(
            [
                (F.cross_entropy(units, batch.targets, reduction="none") * batch.units_asked).sum(),
                (compare(durations, batch.durations, reduction="none") * batch.prosody_asked).sum(),
                (compare(f0, batch.f0, reduction="none") * batch.prosody_asked).sum(),
            ]
        )


def _absolute_error(predicted: Tensor, target: Tensor, *, reduction: str) -> Tensor:
    return F.l1_loss(predicted.squeeze(-1), target, reduction=reduction)
