"""Recording of a clip: a synthesized utterance with pauses and background noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.demo.demo_task import Utterance
from orchestrator.demo.speech import synthesize
from orchestrator.demo.voices import Voice

__all__ = ["record"]

SPEECH_DECIBELS = -27.0
NOISE_DECIBELS = -55.0
SHORTEST_SECONDS = 0.5


def record(utterance: Utterance, voice: Voice, *, rng: np.random.Generator) -> tuple[NDArray[np.float32], int]:
    """Synthesize an utterance, with rate, loudness, noise and pauses drawn from ``rng``.

    Returns:
        Samples between -1 and 1, float32 [samples], at least half a second, and the sample rate in Hz.

    Raises:
        MissingExtra: ``espeakng-loader`` is not installed.
    """
    style = utterance.style
    speech, sample_rate = synthesize(
        utterance.text,
        language=utterance.language,
        variant=voice.variant,
        rate=round(voice.rate * style.rate * rng.uniform(0.92, 1.08)),
        pitch=voice.pitch + style.pitch + int(rng.integers(-3, 4)),
        pitch_range=style.pitch_range,
    )
    # Variants differ in loudness by 15 dB, which would hide the style's level.
    loudness = 10 ** ((SPEECH_DECIBELS + style.level + rng.uniform(-2, 2)) / 20)
    speech = speech * np.float32(loudness / np.sqrt(np.mean(speech**2)))

    before, after = (rng.uniform(0.05, 0.2, size=2) * sample_rate).astype(int)
    missing = int(SHORTEST_SECONDS * sample_rate) - (before + len(speech) + after)
    wave = np.pad(speech, (before, after + max(0, missing)))
    noise = 10 ** ((NOISE_DECIBELS + rng.uniform(-3, 3)) / 20)
    wave = wave + noise * rng.standard_normal(len(wave), dtype=np.float32)
    return np.clip(wave, -1, 1).astype(np.float32), sample_rate
