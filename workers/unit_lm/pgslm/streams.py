"""The duration and F0 streams beside the units of a pGSLM.

Shapes: T units of a row, N packed tokens of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workers.speech.prosody import capped_durations, quantised_f0
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.engine.packing import upload
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.pgslm.config import PGSLMConfig

DURATION_PAD = 0
"""Id of the duration stream's padding, whose embedding is zero; also what stands where its shift leaves a gap."""

Stream = NDArray[np.int64] | NDArray[np.float32]
"""Ids of a discrete stream, or values of a continuous one."""


def shifted_streams(config: PGSLMConfig, prosody: UnitProsody) -> tuple[Stream, Stream]:
    """Durations and F0 of T units, each with the gap of its shift, its begin, T values and its end: [T + 3].

    Beside ``<s> u1 .. uT </s>`` all but the last are inputs, all but the first are targets: where u_t goes in, so do
    the duration and the F0 of the unit before it, and those of u_t are to be predicted. The end counts as a unit of
    no duration and no voice.
    """
    durations, f0 = np.append(prosody.durations, 0), np.append(prosody.f0, np.float32(0))
    if not config.discrete:
        return (
            np.concatenate([[DURATION_PAD, 0], durations]).astype(np.float32),
            np.concatenate([[config.f0_pad, config.f0_begin], f0]).astype(np.float32),
        )
    bins = quantised_f0(f0, np.array(config.f0_edges, dtype=np.float64))
    return (
        np.concatenate([[DURATION_PAD, 0], capped_durations(durations, cap=config.duration_cap)]).astype(np.int64),
        np.concatenate([[config.f0_pad, config.f0_begin], bins]).astype(np.int64),
    )


@dataclass(frozen=True)
class ProsodyInputs:
    """What packed tokens hear besides their units.

    Attributes:
        durations: ids (int64) for discrete streams, frames (float32) for continuous ones, [N].
        f0: bins or special ids (int64), or normalised log F0 (float32), [N].
        present: where the two count, float32 zeros and ones [N]; elsewhere nothing is added. ``None``: everywhere.
    """

    durations: Tensor
    f0: Tensor
    present: Tensor | None = None


def prosody_inputs(rows: Rows, config: PGSLMConfig) -> ProsodyInputs:
    """Durations and F0 beside the packed tokens of rows; units without prosody last one frame at mean pitch."""
    durations: list[NDArray[Any]] = []
    f0: list[NDArray[Any]] = []
    present: list[NDArray[np.float32]] = []
    for prosody, count, length in zip(rows.prosody, rows.prosody_positions, rows.packing.lengths, strict=True):
        row_durations, row_f0 = shifted_streams(config, UnitProsody.unknown(count) if prosody is None else prosody)
        rest = length - count
        durations.append(np.pad(row_durations[:count], (0, rest)))
        f0.append(np.pad(row_f0[:count], (0, rest)))
        present.append(np.pad(np.ones(count, dtype=np.float32), (0, rest)))

    def put(arrays: list[NDArray[Any]]) -> Tensor:
        return upload(np.concatenate(arrays), rows.tokens.device)

    return ProsodyInputs(put(durations), put(f0), put(present))
