"""From waveforms to units with all that is known of them: what tokenizing and classifying share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from workers.speech.audio import windows
from workers.speech.f0 import F0Settings, measure_pitch
from workers.speech.tokenizer import Tokenizer
from workers.speech.units import Units, deduplicate


def encode_utterances(
    tokenizer: Tokenizer,
    waves: Sequence[NDArray[np.float32]],
    f0: F0Settings | None = None,
    window_seconds: Sequence[float | None] | None = None,
) -> list[Units]:
    """Units of whole clips.

    Args:
        tokenizer: audio to units.
        waves: clips, each float32 [samples] at the tokenizer's rate.
        f0: how their pitch is tracked; ``None`` means units without pitch.
        window_seconds: length of the windows each is cut into if it is longer; ``None`` means in one piece.

    Returns:
        For each clip its units, none where it is shorter than one frame.

    Raises:
        BackboneError: the tokenizer is external, or a frame of it is no whole number of F0 values.
        MissingExtra: pitch is asked for, and amfm-decompy is not installed.
    """
    if window_seconds is None:
        return _encode(tokenizer, waves, f0)
    cut = [
        [wave] if seconds is None else windows(wave, round(seconds * tokenizer.sample_rate))
        for wave, seconds in zip(waves, window_seconds, strict=True)
    ]
    pieces = iter(_encode(tokenizer, [piece for clip in cut for piece in clip], f0))
    return [Units.joined(list(islice(pieces, len(clip)))) for clip in cut]


def _encode(tokenizer: Tokenizer, waves: Sequence[NDArray[np.float32]], f0: F0Settings | None) -> list[Units]:
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
