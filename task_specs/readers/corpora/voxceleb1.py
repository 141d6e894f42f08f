"""VoxCeleb1: who speaks, and are they a woman or a man?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from task_specs.example import Split
from task_specs.readers.corpus import Corpus, Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder

ORIGIN = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html"
LICENCE = "CC BY 4.0"
UTTERANCES, PEOPLE = "iden_split.txt", "vox1_meta.csv"
PARTS = ("dev/wav", "test/wav", "wav")
SPLITS_BY_NUMBER: dict[str, Split] = {"1": "train", "2": "valid", "3": "test"}
GENDERS = {"f": "female", "m": "male"}


class VoxCeleb1Speaker(Corpus):
    """``iden_split.txt`` and ``{dev,test}/wav/<speaker>/<video>/<n>.wav``; one ``wav`` directory will do.

    The division is the official one of identification: every speaker is in all three splits, no video is.
    """

    origin: ClassVar[str] = ORIGIN
    licence: ClassVar[str] = LICENCE
    classes: ClassVar[tuple[int, ...]] = (1_251,)
    published: ClassVar[dict[str, Counts]] = {"official": {"train": 138_361, "valid": 6_904, "test": 8_251}}

    split: Literal["official"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        yield from _listed(folder)


class VoxCeleb1Gender(DividedCorpus):
    """As `VoxCeleb1Speaker`, with ``vox1_meta.csv``, which says the gender of each speaker.

    Test is the official test part, of 40 speakers; a tenth of the other part is valid, with speakers apart.
    """

    origin: ClassVar[str] = ORIGIN
    licence: ClassVar[str] = LICENCE
    classes: ClassVar[tuple[int, ...]] = (2,)
    published: ClassVar[dict[str, Counts]] = {"official": {"all": 153_516, "test": 4_874}}

    split: Literal["official"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        people: dict[str, tuple[str, str]] = {}
        for line, (speaker, _, gender, _, part) in folder.fields(PEOPLE, 5, "\t"):
            if gender in GENDERS and part in ("dev", "test"):
                people[speaker] = (GENDERS[gender], part)
            elif line > 1:
                folder.problem(PEOPLE, "has no gender, or no part", "get the file anew", line=line)
        developed: list[Utterance] = []
        for utterance in _listed(folder):
            gender, part = people.get(utterance.labels[0], ("", ""))
            spoken = replace(utterance, labels=(gender,), split="test")
            if part == "test":
                yield spoken
            elif part:
                developed.append(spoken)
            elif people:
                folder.problem(PEOPLE, f"says nothing of {utterance.labels[0]}", "get the file anew")
        yield from self.apart(folder, developed, test=0)


def _listed(folder: Folder) -> Iterator[Utterance]:
    part_of = {
        speaker: part for part in PARTS if folder.first(part, "") == part for speaker in folder.directories(part)
    }
    for line, (number, path) in folder.fields(UTTERANCES, 2):
        speaker = path.partition("/")[0]
        if number in SPLITS_BY_NUMBER:
            audio = f"{part_of.get(speaker, PARTS[0])}/{path}"
            yield Utterance(audio, (speaker,), SPLITS_BY_NUMBER[number], speaker, listed=(UTTERANCES, line))
        else:
            folder.problem(UTTERANCES, f"{number!r} is not a split", "write 1, 2 or 3", line=line)
