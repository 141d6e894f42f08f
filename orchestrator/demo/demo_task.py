"""What one task of the demo says, in which language and manner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.demo.voices import Gender
from task_specs.example import Split

__all__ = ["NEUTRAL", "DemoTask", "Style", "Utterance"]


@dataclass(frozen=True)
class Style:
    """How something is said, on top of the speaker's own habits.

    Attributes:
        rate: factor on the speaker's pace.
        pitch: steps added to the speaker's base pitch (50 steps are an octave).
        pitch_range: how far the melody moves; 50 is the variant's own, 0 monotone.
        level: decibels added to the usual loudness.
    """

    rate: float = 1.0
    pitch: int = 0
    pitch_range: int = 50
    level: float = 0.0


NEUTRAL = Style()


@dataclass(frozen=True)
class Utterance:
    """Words to be said, with the labels the clip will get, one per slot.

    Attributes:
        text: in the orthography of ``language``.
        language: espeak-ng's name of it.
        labels: one per slot of the task.
        style: how it is said.
        gender: whose voices may say it; ``None`` means anyone's.
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
        name: the task's slug; also names its files.
        family: abbreviation of the kind of task, as the SpeechPrompt papers write it where they have it.
        language: ISO 639 code, ``mul`` where there are several.
        description: one sentence for the task spec.
        slots: names of the label columns.
        audio_format: of the task's clips.
        classes: per split, the classes, each with the utterances that its clips take in turn.
        clips_per_class: per split.
    """

    name: str
    family: str
    language: str
    description: str
    slots: tuple[str, ...]
    audio_format: Literal["flac", "wav"]
    classes: Mapping[Split, tuple[tuple[Utterance, ...], ...]]
    clips_per_class: Mapping[Split, int]
