"""The multi-stream unit language model pGSLM: fairseq's ``transformer_ulm_big``.

The body is GSLM's. Every position also takes the duration and the F0 of the unit *before* its own (both streams are
shifted by one, ``stream_shifts="1,1"``), and one bias-free head scores the next unit, this unit's duration and its F0.

Shapes: N packed tokens, D dim.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from workers.speech.prosody import capped_durations, quantised_f0
from workers.speech.unit_prosody import ProsodySettings, UnitProsody
from workers.unit_lm.frozen_linear import Projection
from workers.unit_lm.gslm import UnitLM, UnitLMConfig

SPECIAL_IDS = 4
"""Ids after the values of each discrete stream: begin, pad, end, unknown."""


class MultistreamConfig(UnitLMConfig):
    """A unit LM that also reads and predicts each unit's duration and F0.

    Unit ids are the unit numbers themselves, and the special ids follow them: 100 to 103 in the published models,
    whose positions therefore begin at 102.
    """

    kind: Literal["pgslm"] = "pgslm"  # type: ignore[assignment]  # the discriminator of the two kinds
    bos: int = Field(100, ge=0)
    pad: int = Field(101, ge=0)
    eos: int = Field(102, ge=0)
    streams: Literal["discrete", "continuous"] = "continuous"
    """Durations and F0 as classes with embeddings, or as numbers through a linear map."""
    duration_cap: int = Field(20, ge=1, le=10_000)
    """Longest duration in frames that discrete streams tell apart; continuous ones have no cap."""
    f0_edges: Annotated[tuple[float, ...], Field(strict=False, max_length=4096)] = ()
    """Ascending edges between the bins of normalised log F0; discrete streams only."""
    ignore_duration: bool = False
    """Whether the model was trained with all durations zero (the reference's ``ignore_duration_input``)."""
    ignore_f0: bool = False
    prosody: ProsodySettings = Field(default_factory=ProsodySettings)
    """How the F0 that it reads is made."""

    @model_validator(mode="after")
    def _streams_fit(self) -> Self:
        if self.discrete != bool(self.f0_edges):
            raise ValueError("f0_edges belong to discrete streams, which need them, and to no others")
        if any(left >= right for left, right in pairwise(self.f0_edges)):
            raise ValueError("f0_edges must ascend")
        return self

    @property
    def start(self) -> int:
        return self.bos

    @property
    def discrete(self) -> bool:
        return self.streams == "discrete"

    @property
    def duration_ids(self) -> int:
        """Classes of discrete durations: 0 to the cap, and the special ids; 25 in the published model."""
        return self.duration_cap + 1 + SPECIAL_IDS

    @property
    def f0_bins(self) -> int:
        return len(self.f0_edges) + 1

    @property
    def f0_ids(self) -> int:
        """Classes of discrete F0: the bins, and the special ids; 36 in the published model."""
        return self.f0_bins + SPECIAL_IDS

    @property
    def f0_begin(self) -> float:
        """What the F0 stream holds for the token that every row begins with."""
        return self.f0_bins if self.discrete else 0.0

    @property
    def f0_pad(self) -> float:
        """What the F0 stream holds where its shift leaves a gap."""
        return self.f0_bins + 1 if self.discrete else -5.0

    @property
    def channels(self) -> list[int]:
        """Outputs for units, durations and F0."""
        return [self.vocabulary, self.duration_ids, self.f0_ids] if self.discrete else [self.vocabulary, 1, 1]

    @property
    def outputs(self) -> int:
        return sum(self.channels)


DURATION_PAD = 0
"""Id of the duration stream's padding, whose embedding is zero; also what stands where its shift leaves a gap."""


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


class MultistreamLM(UnitLM):
    """A unit LM with duration and F0 streams.

    Args:
        config: sizes, ids and kind of streams.
        dropout: as of ``UnitLM``.
    """

    config: MultistreamConfig
    # Two of the four, by the kind of the streams.
    duration_embed: nn.Embedding
    f0_embed: nn.Embedding
    duration_proj: Projection
    f0_proj: Projection

    def __init__(self, config: MultistreamConfig, *, dropout: float = 0.0) -> None:
        super().__init__(config, dropout=dropout)
        dim = config.dim
        if config.discrete:
            self.duration_embed = _embedding(config.duration_ids, dim, DURATION_PAD)
            self.f0_embed = _embedding(config.f0_ids, dim, int(config.f0_pad))
        else:
            self.duration_proj, self.f0_proj = Projection(1, dim), Projection(1, dim)
        self.head = Projection(dim, config.outputs, bias=False)

    def initialise(self, seed: int) -> None:
        """Fresh weights; what the streams add is drawn like unscaled unit embeddings."""
        super().initialise(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        for name, parameter in self.named_parameters():
            if name.startswith(("duration_", "f0_", "head")) and parameter.dim() == 2:
                nn.init.normal_(parameter, std=self.config.dim**-0.5, generator=generator)
        if self.config.discrete:
            with torch.no_grad():
                self.duration_embed.weight[DURATION_PAD] = 0
                self.f0_embed.weight[int(self.config.f0_pad)] = 0

    def prosody_terms(self, prosody: ProsodyInputs) -> Tensor:
        """What durations and F0 add to the scaled embeddings of their tokens, [N, D].

        A model that ignores a stream reads zeros there: the embedding of class 0, or the bias of the linear map.
        """
        durations = torch.zeros_like(prosody.durations) if self.config.ignore_duration else prosody.durations
        f0 = torch.zeros_like(prosody.f0) if self.config.ignore_f0 else prosody.f0
        if self.config.discrete:
            terms: Tensor = self.duration_embed(durations) + self.f0_embed(f0)
        else:
            terms = self.duration_proj(durations[:, None]) + self.f0_proj(f0[:, None])
        return terms if prosody.present is None else terms * prosody.present[:, None]

    def logits(self, states: Tensor) -> Tensor:
        """Scores of the next unit, this unit's duration and its F0 side by side, [N, D] to [N, config.outputs]."""
        return F.linear(states, self.head.weight)


def _embedding(rows: int, dim: int, pad: int) -> nn.Embedding:
    # Given its weight for the same reason as the unit embedding.
    return nn.Embedding(rows, dim, padding_idx=pad, _weight=torch.zeros(rows, dim))


Stream = NDArray[np.int64] | NDArray[np.float32]
"""Ids of a discrete stream, or values of a continuous one."""


def shifted_streams(config: MultistreamConfig, prosody: UnitProsody) -> tuple[Stream, Stream]:
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
