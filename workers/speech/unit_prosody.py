"""Durations and F0 as a multi-stream LM takes them: one number of each per unit, comparable between voices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from workers.speech.f0 import F0Settings
from workers.speech.prosody import PitchStatistics, normalised_f0
from workers.speech.units import Units


class ProsodySettings(BaseModel):
    """How a recording's F0 becomes one number per unit; durations need no settings.

    The reference normalises by speaker. A speaker is not always known, in a service hardly ever: an utterance without
    one is normalised by its own mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tracker: F0Settings = Field(default_factory=F0Settings)
    f0_mean: Literal["speaker", "utterance", "none"] = "speaker"
    """Whose mean log F0, over voiced frames, is subtracted; ``none`` keeps how high a voice is."""
    f0_std: bool = False
    """Whether what is left is divided by the deviation too."""
    interpolate: bool = True
    """Whether unvoiced units between voiced ones get a value on the line between them."""


@dataclass(frozen=True)
class UnitProsody:
    """Prosody of units, in their order.

    Attributes:
        durations: frames that each unit lasts, int32 [T].
        f0: normalised log F0 of each, 0 where nothing is voiced, float32 [T].
    """

    durations: NDArray[np.int32]
    f0: NDArray[np.float32]

    @classmethod
    def unknown(cls, units: int) -> UnitProsody:
        """Of units that came without any: one frame each, at mean pitch."""
        return cls(np.ones(units, dtype=np.int32), np.zeros(units, dtype=np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[UnitProsody]) -> UnitProsody:
        """Several, end to end."""
        durations = [np.zeros(0, dtype=np.int32), *(part.durations for part in parts)]
        f0 = [np.zeros(0, dtype=np.float32), *(part.f0 for part in parts)]
        return cls(np.concatenate(durations), np.concatenate(f0))

    def part(self, start: int, end: int) -> UnitProsody:
        """That of the units from ``start`` to before ``end``."""
        return UnitProsody(self.durations[start:end], self.f0[start:end])


def unit_prosody(
    utterances: Sequence[Units], speakers: Sequence[str | None], settings: ProsodySettings
) -> list[UnitProsody]:
    """Normalise the F0 of utterances.

    Args:
        utterances: units with durations and pitch; without pitch an utterance counts as unvoiced.
        speakers: who speaks each; those of one speaker share a mean, over all of them.
        settings: of the backbone.
    """
    by_speaker: dict[str, list[PitchStatistics]] = {}
    for units, speaker in zip(utterances, speakers, strict=True):
        if speaker is not None and units.pitch is not None:
            by_speaker.setdefault(speaker, []).append(units.pitch.statistics)
    known = {speaker: reduce(add, parts) for speaker, parts in by_speaker.items()}
    found = []
    for units, speaker in zip(utterances, speakers, strict=True):
        if units.pitch is None:
            found.append(UnitProsody(units.durations, np.zeros(len(units), dtype=np.float32)))
            continue
        own = units.pitch.statistics
        statistics = known[speaker] if settings.f0_mean == "speaker" and speaker is not None else own
        f0 = normalised_f0(
            units.pitch.f0_hz,
            mean=0.0 if settings.f0_mean == "none" else statistics.mean,
            std=statistics.std if settings.f0_std else None,
            interpolate=settings.interpolate,
        )
        found.append(UnitProsody(units.durations, f0))
    return found
