"""Grabo: Dutch commands to a robot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from task_specs.readers.corpus import Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder

COMMANDS = 36


class Grabo(DividedCorpus):
    """``speakers/pp<n>/spchdatadir/recording<command>/Voice_<take>.wav``, of eleven speakers.

    Splits have different speakers. ``paper`` takes the first two recordings of each speaker and command for train, the
    next four for valid and the others for test, in the order of their numbers.
    """

    origin: ClassVar[str] = "https://www.esat.kuleuven.be/psi/spraak/downloads (grabo.tar.gz)"
    licence: ClassVar[str] = "none is stated; research use"
    classes: ClassVar[tuple[int, ...]] = (COMMANDS,)
    parts: ClassVar[tuple[str, ...]] = ("speakers",)
    published: ClassVar[dict[str, Counts]] = {
        "speakers": {"all": 6_007},
        "paper": {"train": 792, "valid": 1_584, "test": 3_631},
    }

    split: Literal["speakers", "paper"] = "speakers"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.first("speakers")
        found: list[Utterance] = []
        for speaker in folder.directories(top):
            for command in folder.directories(f"{top}/{speaker}/spchdatadir"):
                path = f"{top}/{speaker}/spchdatadir/{command}"
                if not re.fullmatch(rf"recording([1-9]|[12]\d|3[0-{COMMANDS % 10}])", command):
                    if folder.below(path):
                        folder.problem(path, f"is not one of recording1 to recording{COMMANDS}", "move it away")
                    continue
                for place, name in enumerate(sorted(folder.files(path), key=_number)):
                    utterance = Utterance(f"{path}/{name}", (command,), speaker=speaker)
                    found.append(replace(utterance, split="train" if place < 2 else "valid" if place < 6 else "test"))
        yield from found if self.split == "paper" else self.apart(folder, found)


def _number(name: str) -> tuple[int, str]:
    digits = re.findall(r"\d+", name)
    return (int(digits[-1]) if digits else 0), name
