"""Lithuanian Speech Commands: thirteen words, other words and silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from task_specs.example import Split
from task_specs.readers.corpus import Corpus, Counts, Utterance
from task_specs.readers.folder import Folder
from task_specs.readers.splitting import by_speaker_hash
from task_specs.readers.tree import folded

WORDS = (
    "ne", "ačiū", "stop", "įjunk", "išjunk", "į_viršų", "į_apačią", "į_dešinę", "į_kairę", "startas", "pauzė", "labas",
    "iki",
)  # fmt: skip
OTHER_WORDS = ("du", "keturi", "nulis", "penki", "taip", "trys", "vienas")
NOISE = "_background_noise_"

# The first twenty rows of noise_full.csv in github.com/dodohow1011/SpeechAdvReprogram: ten test, ten valid.
PAPER_TEST = (55, 136, 139, 201, 204, 162, 34, 156, 159, 221)
PAPER_VALID = (30, 224, 227, 13, 182, 37, 179, 241, 244, 247)


class LithuanianSpeechCommands(Corpus):
    """A checkout of the repository: ``dataset/<word>/<speaker>_nohash_<n>.wav``.

    Words are split by the speaker hash of Google Speech Commands, as published. Silence, which has no published split,
    is 10 test, 10 valid and 20 train recordings in the order of their names; ``paper`` uses the paper's 20 for test and
    valid, and all others for train.
    """

    origin: ClassVar[str] = "https://github.com/kolesov93/lt_speech_commands"
    licence: ClassVar[str] = "none is stated"
    classes: ClassVar[tuple[int, ...]] = (15,)
    published: ClassVar[dict[str, Counts]] = {
        "official": {"train": 346, "valid": 85, "test": 98},
        "paper": {"train": 598, "valid": 85, "test": 98},
    }

    split: Literal["official", "paper"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        words = (*WORDS, *OTHER_WORDS)
        top = folder.above(*(f"dataset/{word}" for word in words), *words)
        for word in words:
            path = f"{top}{word}"
            for name in folder.files(path):
                label = word if word in WORDS else "unknown"
                speaker = name.partition("_nohash_")[0]
                yield Utterance(f"{path}/{name}", (label,), by_speaker_hash(name), speaker)
        known = {*words, NOISE}
        for name in folder.directories(top.rstrip("/")):
            if folded(name) not in known and folder.below(f"{top}{name}"):
                folder.problem(f"{top}{name}", "is not a word of this data set", "move it away")
        path = f"{top}{NOISE}"
        for place, name in enumerate(folder.files(path)):
            split = self._noise_split(place, name)
            if split is not None:
                yield Utterance(f"{path}/{name}", ("_silence_",), split)

    def _noise_split(self, place: int, name: str) -> Split | None:
        if self.split == "official":
            return "test" if place < 10 else "valid" if place < 20 else "train" if place < 40 else None
        names = {f"{number}.wav" for number in PAPER_TEST}, {f"{number}.wav" for number in PAPER_VALID}
        return "test" if name in names[0] else "valid" if name in names[1] else "train"
