"""Clips and examples, which dataset readers yield."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, order=True)
class Clip:
    """A recording or a part of one.

    Attributes:
        uri: absolute local path or ``s3://`` URI of the audio file.
        start: start in seconds; ``None``: the start of the file.
        end: end in seconds; ``None``: the end of the file.
    """

    uri: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Example:
    """A labelled utterance; exactly one of ``clip`` and ``units`` is set.

    Attributes:
        split: split of the example.
        labels: labels in the order of the task's slots.
        clip: clip to tokenize.
        units: unit numbers computed elsewhere, without adjacent repeats.
        durations: frames per unit; ``None`` if unknown.
        speaker: name of the speaker; ``None`` if unknown.
    """

    split: Split
    labels: tuple[str, ...]
    clip: Clip | None = None
    units: tuple[int, ...] | None = None
    durations: tuple[int, ...] | None = None
    speaker: str | None = None
