"""VoxCeleb1: identity and gender of speakers."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from task_specs.example import Split
from task_specs.readers.audio_files import DIRECTORY, FILE
from task_specs.readers.corpus import Corpus, Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder

SITE = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb"
ORIGIN = f"{SITE}/vox1.html"
LICENCE = "CC BY 4.0"
UTTERANCES, PEOPLE = "iden_split.txt", "vox1_meta.csv"
SOURCES = {name: f"{SITE}/meta/{name}" for name in (UTTERANCES, PEOPLE)}
PARTS = ("dev/wav", "test/wav", "wav", "dev", "test")
SPLITS_BY_NUMBER: dict[str, Split] = {"1": "train", "2": "valid", "3": "test"}
GENDERS = {"f": "female", "m": "male", "female": "female", "male": "male"}
COLUMNS = {"voxceleb1id": "speaker", "gender": "gender", "set": "part"}
"""Columns used of the list of people, without characters that differ between copies."""

_SPEAKER = re.compile(r"id1\d{4}")
_LEVELS = 3
_LOOKED_INTO = 2_000
"""Most directories of a level in which speakers are searched for."""


class VoxCeleb1Speaker(Corpus):
    """``iden_split.txt`` and ``{dev,test}/wav/<speaker>/<video>/<n>.wav``, with any directories above the speakers.

    The splits are the official ones for identification: every speaker is in all splits, every video in one.
    """

    origin: ClassVar[str] = ORIGIN
    licence: ClassVar[str] = LICENCE
    classes: ClassVar[tuple[int, ...]] = (1_251,)
    parts: ClassVar[tuple[str, ...]] = PARTS
    sources: ClassVar[Mapping[str, str]] = SOURCES
    published: ClassVar[dict[str, Counts]] = {"official": {"train": 138_361, "valid": 6_904, "test": 8_251}}

    split: Literal["official"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        yield from _listed(folder)


class VoxCeleb1Gender(DividedCorpus):
    """The files of `VoxCeleb1Speaker`, and ``vox1_meta.csv`` with the gender of each speaker.

    Test is the official test part, with 40 speakers; a tenth of the other part is valid, with different speakers.
    """

    origin: ClassVar[str] = ORIGIN
    licence: ClassVar[str] = LICENCE
    classes: ClassVar[tuple[int, ...]] = (2,)
    parts: ClassVar[tuple[str, ...]] = PARTS
    sources: ClassVar[Mapping[str, str]] = SOURCES
    published: ClassVar[dict[str, Counts]] = {"official": {"all": 153_516, "test": 4_874}}

    split: Literal["official"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        people = dict(_people(folder))
        developed: list[Utterance] = []
        unknown: dict[str, None] = {}
        for utterance in _listed(folder):
            gender, part = people.get(utterance.labels[0], ("", ""))
            spoken = replace(utterance, labels=(gender,), split="test")
            if part == "test":
                yield spoken
            elif part:
                developed.append(spoken)
            else:
                unknown[utterance.labels[0]] = None
        if people and unknown:
            message = f"lacks {len(unknown)} speakers, the first of them {next(iter(unknown))}"
            folder.problem(folder.first(PEOPLE), message, "get the file again")
        yield from self.apart(folder, developed, test=0)


def _people(folder: Folder) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield gender and part of each speaker. The official list separates fields by tabs, some copies by commas."""
    path = folder.first(PEOPLE)
    separator = "\t"
    columns: list[str] = []
    for line, text in folder.lines(path):
        if not columns:
            separator = next((mark for mark in "\t,;|" if mark in text), " ")
            header = [_key(cell) for cell in _cells(text, separator)]
            columns = [COLUMNS.get(name, "") for name in header]
            if set(COLUMNS.values()) <= set(columns):
                continue
            if _SPEAKER.match(text) is None:
                missing = " and ".join(name for name in ("VoxCeleb1 ID", "Gender", "Set") if _key(name) not in header)
                folder.problem(path, f"has no column {missing}", "get the file again", line=line)
                return
            # Without its header, the columns are the official ones.
            columns = ["speaker", "", "gender", "", "part"]
        cells = _cells(text, separator)
        if len(cells) != len(columns):
            message = f"has {len(cells)} fields instead of {len(columns)}"
            folder.problem(path, message, "correct the line", line=line)
            continue
        row = dict(zip(columns, cells, strict=True))
        gender, part = GENDERS.get(row["gender"].lower()), row["part"].lower()
        if gender is None or part not in ("dev", "test"):
            folder.problem(path, "has no valid gender or part", "get the file again", line=line)
        else:
            yield row["speaker"], (gender, part)


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _listed(folder: Folder) -> Iterator[Utterance]:
    path = folder.first(UTTERANCES)
    lines = [(line, number, _from_speaker(audio)) for line, (number, audio) in folder.fields(path, 2)]
    homes = _homes(folder, {audio.partition("/")[0] for _, _, audio in lines})
    elsewhere = next(iter(homes.values()), [f"{PARTS[0]}/"])
    for line, number, audio in lines:
        speaker = audio.partition("/")[0]
        if number in SPLITS_BY_NUMBER:
            places = homes.get(speaker, elsewhere)
            place = next((place for place in places if folder.audio.has(f"{place}{audio}", FILE)), places[0])
            yield Utterance(f"{place}{audio}", (speaker,), SPLITS_BY_NUMBER[number], speaker, listed=(path, line))
        else:
            folder.problem(path, f"{number!r} is not a split", "write 1, 2 or 3", line=line)


def _from_speaker(path: str) -> str:
    """Return a path from the speaker on; in copies of the list, paths begin with ``wav/`` or another directory."""
    parts = path.replace("\\", "/").split("/")
    return "/".join(parts[next((place for place, part in enumerate(parts) if _SPEAKER.fullmatch(part)), 0) :])


def _homes(folder: Folder, speakers: Collection[str]) -> dict[str, list[str]]:
    """Return the directories, with a slash, that hold each speaker's directory."""
    homes: dict[str, list[str]] = defaultdict(list)
    level = [""]
    for _ in range(_LEVELS + 1):
        if len(homes) == len(speakers) or len(level) > _LOOKED_INTO:
            break
        deeper: list[str] = []
        for place in level:
            names = folder.tree.entries(place.rstrip("/"), DIRECTORY)
            found = [name for name in names if name in speakers]
            for name in found:
                homes[name].append(place)
            deeper += [] if found else [f"{place}{name}/" for name in names]
        level = deeper
    return homes
