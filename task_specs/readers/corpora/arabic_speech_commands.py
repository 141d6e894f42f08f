"""Arabic Speech Commands: six control words and ten digits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from task_specs.example import Split
from task_specs.readers.corpus import Corpus, Counts, Utterance
from task_specs.readers.folder import Folder

DATABASE = "AR_ SpeechCommands_Database"
TAKES = 100


class ArabicSpeechCommands(Corpus):
    """A checkout of the repository, with ``Words/<word><n>.wav`` (48 kHz) and ``Numbers/<digit>_<n>.wav`` (8 kHz) in
    ``AR_ SpeechCommands_Database`` (with a space).

    The splits are those of github.com/dodohow1011/SpeechAdvReprogram, which the paper uses. They were drawn over files,
    many of which are copies, so that 225 test clips are also in train.
    """

    origin: ClassVar[str] = "https://github.com/ltkbenamer/AR_Speech_Database"
    licence: ClassVar[str] = "none is stated"
    classes: ClassVar[tuple[int, ...]] = (16,)
    parts: ClassVar[tuple[str, ...]] = ("Words", "Numbers")
    published: ClassVar[dict[str, Counts]] = {"official": {"train": 1_107, "valid": 123, "test": 370}}

    split: Literal["official"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.above(*(f"{DATABASE}/{kind}" for kind in self.parts), *self.parts)
        for stem, splits in published_split().items():
            label = stem.partition("/")[2][0]
            for take in range(1, TAKES + 1):
                yield Utterance(f"{top}{stem}{take}.wav", (label,), splits.get(take, "train"))


def published_split() -> dict[str, dict[int, Split]]:
    """Return the takes that are in valid and test, by the start of their paths."""
    found: dict[str, dict[int, Split]] = {}
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        stem, split, *takes = line.split()
        found.setdefault(stem, {}).update({int(take): "valid" if split == "valid" else "test" for take in takes})
    return found
