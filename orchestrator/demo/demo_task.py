"""A task of the demo: its utterances, their language and their style."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from orchestrator.demo.voices import Gender
from task_specs.example import Split

__all__ = ["NEUTRAL", "DemoTask", "Style", "Utterance"]

MEASURED_CLIPS: Final = 300
"""Clips of a validation or test split at least: of fewer, a metric says little."""


@dataclass(frozen=True)
class Style:
    """Speaking style, relative to the speaker's own.

    Attributes:
        rate: factor on the speaker's rate.
        pitch: steps added to the speaker's base pitch (50 steps are an octave).
        pitch_range: range of the intonation; 50 is the variant's own, 0 is monotone.
        level: decibels added to the usual loudness.
    """

    rate: float = 1.0
    pitch: int = 0
    pitch_range: int = 50
    level: float = 0.0


NEUTRAL = Style()


@dataclass(frozen=True)
class Utterance:
    """Words to synthesize, and the labels of their clip.

    Attributes:
        text: text in the orthography of ``language``.
        language: espeak-ng's name of the language.
        labels: labels of the clip, one per slot of the task.
        style: speaking style.
        gender: gender of the voices that may say it; ``None``: any.
    """

    text: str
    language: str
    labels: tuple[str, ...]
    style: Style = NEUTRAL
    gender: Gender | None = None


@dataclass(frozen=True)
class DemoTask:
    """One task of the demo corpus.

    Attributes:
        name: name of the task and of its files.
        family: abbreviation of the kind of task, that of the SpeechPrompt papers where they have one.
        language: ISO 639 code; ``mul``: several languages.
        description: one sentence for the task spec.
        slots: names of the slots.
        audio_format: file format of the clips.
        classes: classes of each split, each with the utterances that its clips use in turn.
        training_clips: number of training clips per class.
    """

    name: str
    family: str
    language: str
    description: str
    slots: tuple[str, ...]
    audio_format: Literal["flac", "wav"]
    classes: Mapping[Split, tuple[tuple[Utterance, ...], ...]]
    training_clips: int

    def clips_per_class(self, split: Split) -> int:
        """Number of clips of each class of a split."""
        return self.training_clips if split == "train" else math.ceil(MEASURED_CLIPS / len(self.classes[split]))
