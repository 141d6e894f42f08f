"""Dysarthric Mandarin Speech Commands: nineteen commands of three speakers with dysarthria."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from task_specs.readers.corpus import Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder
from task_specs.readers.splitting import shuffled

COMMANDS = tuple(f"{number:02}" for number in range(1, 20))
PAPER_OMITS = ("10", "13", "14", "15", "16", "19")

# The takes of each command, 01 to 19, in DM-SCR/test_full.csv of github.com/dodohow1011/SpeechAdvReprogram.
TEST_TAKES = {
    "D_SPK1": "10 9 7,7 6 5,10 2 5,8 6 9,8 3 7,3 10 1,1 8 5,2 5 10,1 4 10,10 2 6,6 5 1,7 9 2,3 5 1,6 4 1,2 10 9,5 10 3,"
    "9 1 5,6 3 10,9 8 7",
    "D_SPK2": "4 10 8,10 7 8,3 10 1,7 6 5,10 7 4,6 1 8,1 6 7,10 6 8,2 3 7,8 9 5,1 8 5,5 7 9,7 4 3,4 5 7,7 10 3,1 6 8,"
    "10 1 7,7 9 4,2 10 9",
    "D_SPK3": "10 1 7,9 8 6,2 7 6,6 3 2,7 9 8,9 8 5,3 10 9,7 4 6,6 3 9,1 9 8,10 7 9,3 10 2,5 6 8,2 8 4,1 4 3,6 2 9,"
    "4 7 1,3 2 4,8 5 4",
}


class DysarthricMandarinSpeechCommands(DividedCorpus):
    """``D_SPK<n>/<command>/D_SPK<n>_c<command> (<take>).wav``: ten takes of each command.

    Test is the published list of three takes per command; one other take, drawn, is valid. ``paper`` omits six
    commands, as the paper's code does, and a fifth of the takes that are not test is valid. ``speakers`` uses one
    speaker per split.
    """

    origin: ClassVar[str] = "https://reurl.cc/a5vAG4"
    licence: ClassVar[str] = "none is stated"
    classes: ClassVar[tuple[int, ...]] = (len(COMMANDS),)
    parts: ClassVar[tuple[str, ...]] = tuple(TEST_TAKES)
    published: ClassVar[dict[str, Counts]] = {
        "official": {"train": 342, "valid": 57, "test": 171},
        "paper": {"train": 219, "valid": 54, "test": 117},
        "speakers": {"train": 190, "valid": 190, "test": 190},
    }

    split: Literal["official", "paper", "speakers"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.top(*TEST_TAKES)
        found: list[Utterance] = []
        for speaker, listed in TEST_TAKES.items():
            for command, takes in zip(COMMANDS, listed.split(","), strict=True):
                path = f"{top}{speaker}/{command}"
                names = folder.files(path) if self.split != "paper" or command not in PAPER_OMITS else []
                rest: list[Utterance] = []
                for name in names:
                    take = re.search(r"\((\d+)\)\.wav$", name, re.IGNORECASE)
                    utterance = Utterance(f"{path}/{name}", (command,), speaker=speaker)
                    if take is None:
                        folder.problem(
                            f"{path}/{name}", "has no take number", "restore its name, such as '... (7).wav'"
                        )
                    elif take[1] in takes.split():
                        found.append(replace(utterance, split="test"))
                    else:
                        rest.append(utterance)
                drawn = shuffled([utterance.path for utterance in rest], self.seed)[:1]
                found += [replace(one, split="valid") if one.path in drawn else one for one in rest]
        if self.split == "speakers":
            yield from self.apart(folder, found)
        elif self.split == "official":
            yield from found
        else:
            yield from (utterance for utterance in found if utterance.split == "test")
            yield from self.mixed([one for one in found if one.split != "test"], valid=0.2, test=0)
