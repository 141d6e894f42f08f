"""From waveforms to units with all that is known of them: what tokenizing and classifying share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workers.speech.f0 import F0Settings, measure_pitch
from workers.speech.tokenizer import Tokenizer
from workers.speech.units import Units, deduplicate


def encode_utterances(
    tokenizer: Tokenizer, waves: Sequence[NDArray[np.float32]], f0: F0Settings | None = None
) -> list[Units]:
    """Units of whole clips.

    Args:
        tokenizer: audio to units.
        waves: clips, each float32 [samples] at the tokenizer's rate.
        f0: how their pitch is tracked; ``None`` means units without pitch.

    Returns:
        For each clip its units, none where it is shorter than one frame.

    Raises:
        BackboneError: the tokenizer is external, or a frame of it is no whole number of F0 values.
        MissingExtra: pitch is asked for, and amfm-decompy is not installed.
    """
    utterances = [deduplicate(frames) for frames in tokenizer.encode(waves)]
    if f0 is None:
        return utterances
    return [
        replace(
            units,
            pitch=measure_pitch(
                wave,
                units.durations,
                sample_rate=tokenizer.sample_rate,
                frame_seconds=tokenizer.frame_seconds,
                settings=f0,
            ),
        )
        for units, wave in zip(utterances, waves, strict=True)
    ]
