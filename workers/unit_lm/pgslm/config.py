"""Sizes, ids and streams of a pGSLM."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workers.speech.unit_prosody import ProsodySettings
from workers.unit_lm.unit_lm import UnitLMConfig

SPECIAL_IDS = 4
"""Ids after the values of each discrete stream: begin, pad, end, unknown."""


class PGSLMConfig(UnitLMConfig):
    """A unit LM that also reads and predicts each unit's duration and F0.

    Unit ids are the unit numbers themselves, and the special ids follow them: 100 to 103 in the published models,
    whose positions therefore begin at 102.
    """

    kind: Literal["pgslm"] = "pgslm"
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

    @property
    def prosody_settings(self) -> ProsodySettings:
        return self.prosody
