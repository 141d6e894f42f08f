"""Voices of the demo: espeak-ng's voice variants, each in one split only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from task_specs.example import SPLITS, Split

__all__ = ["Gender", "Voice", "draw_voices"]

Gender = Literal["female", "male"]

# Without robots, whispers and voices with noise from libc's rand (klatt). Near copies (aunty and linda, Mario and
# Michael, ...) are never in two splits.
VARIANTS: dict[Split, dict[Gender, tuple[str, ...]]] = {
    "train": {
        "female": (
            "f2",
            "f5",
            "Alicia",
            "Andrea",
            "Annie",
            "anika",
            "belinda",
            "grandma",
            "shelby",
            "steph2",
        ),
        "male": (
            "m1",
            "m2",
            "m4",
            "m7",
            "Andy",
            "Gene2",
            "Henrique",
            "Michael",
            "marcelo",
            "miguel",
            "paul",
            "robert",
        ),
    },
    "valid": {"female": ("f1", "f4"), "male": ("m3", "pedro", "quincy")},
    "test": {"female": ("f3", "aunty", "steph"), "male": ("m6", "m8", "Alex", "john")},
}


@dataclass(frozen=True)
class Voice:
    """A speaker of the corpus.

    Attributes:
        variant: espeak-ng's name of the voice variant, also the speaker's name.
        gender: gender that the variant represents.
        pitch: base pitch; 50 is the variant's.
        rate: words per minute.
    """

    variant: str
    gender: Gender
    pitch: int
    rate: int


def draw_voices(*, seed: int) -> dict[Split, tuple[Voice, ...]]:
    """Draw a pitch and a rate for every variant; return the voices by split."""
    rng = np.random.default_rng([seed, 0])
    return {
        split: tuple(
            Voice(variant, gender, pitch=int(rng.integers(42, 59)), rate=int(rng.integers(165, 206)))
            for gender, variants in VARIANTS[split].items()
            for variant in variants
        )
        for split in SPLITS
    }
