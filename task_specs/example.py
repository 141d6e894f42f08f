"""What a dataset reader yields: clips, and examples made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, order=True)
class Clip:
    """A recording, or a part of one.

    Attributes:
        uri: absolute local path or ``s3://`` URI of the audio file.
        start: first second that counts; ``None`` means the beginning.
        end: second at which it ends; ``None`` means the end of the file.
    """

    uri: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Example:
    """One labelled utterance: exactly one of ``clip`` and ``units`` is set.

    Attributes:
        split: the split it belongs to.
        labels: one label per slot, in the order of the task's slots.
        clip: the recording to tokenize.
        units: unit numbers that were computed elsewhere, without adjacent repeats.
        durations: frames per unit, where the source gave frame-level units.
        speaker: who speaks, where known.
    """

    split: Split
    labels: tuple[str, ...]
    clip: Clip | None = None
    units: tuple[int, ...] | None = None
    durations: tuple[int, ...] | None = None
    speaker: str | None = None
