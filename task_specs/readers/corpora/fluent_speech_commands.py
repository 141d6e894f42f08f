"""Fluent Speech Commands: intents of a voice assistant in three slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from task_specs.example import SPLITS
from task_specs.readers.corpus import Corpus, Counts, Utterance
from task_specs.readers.folder import Folder

SLOTS = ("action", "object", "location")


class FluentSpeechCommands(Corpus):
    """The directory ``fluent_speech_commands_dataset``: ``data/{train,valid,test}_data.csv`` and ``wavs/speakers/``.

    The splits are the official ones, with different speakers.
    """

    origin: ClassVar[str] = (
        "https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research"
    )
    licence: ClassVar[str] = "Fluent Speech Commands Public License, academic research only"
    classes: ClassVar[tuple[int, ...]] = (6, 14, 4)
    parts: ClassVar[tuple[str, ...]] = ("data", "wavs", "wavs/speakers")
    label_names: ClassVar[tuple[str, ...]] = SLOTS
    published: ClassVar[dict[str, Counts]] = {"official": {"train": 23_132, "valid": 3_118, "test": 3_793}}

    split: Literal["official"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.top(*(f"data/{split}_data.csv" for split in SPLITS))
        for split in SPLITS:
            path = f"{top}data/{split}_data.csv"
            for line, row in folder.table(path, ("path", "speakerId", *SLOTS)):
                labels = tuple(row[slot].strip() for slot in SLOTS)
                if all(labels) and row["path"]:
                    yield Utterance(top + row["path"], labels, split, row["speakerId"], listed=(path, line))
                else:
                    folder.problem(path, "has an empty cell", "get the file again", line=line)
