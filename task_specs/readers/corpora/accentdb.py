"""AccentDB, extended: nine accents of English."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from task_specs.readers.corpus import Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder

ACCENTS = ("american", "australian", "bangla", "british", "indian", "malayalam", "odiya", "telugu", "welsh")


class AccentDb(DividedCorpus):
    """Content of ``accentDB_extended.tar.gz``: ``data/<accent>/speaker_<n>/*.wav``.

    Splits have different speakers for accents with at least three; recordings of other accents are split at random.
    ``paper`` splits all recordings at random, 64:16:20.
    """

    origin: ClassVar[str] = "https://accentdb.org (accentdb_extended)"
    licence: ClassVar[str] = "by the terms of its site, non-commercial"
    classes: ClassVar[tuple[int, ...]] = (len(ACCENTS),)
    published: ClassVar[dict[str, Counts]] = {"speakers": {"all": 17_313}, "paper": {"all": 17_313}}

    split: Literal["speakers", "paper"] = "speakers"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.above(*(f"data/{accent}" for accent in ACCENTS), *ACCENTS)
        found: list[Utterance] = []
        for accent in folder.directories(top.rstrip("/")):
            if accent.lower() not in ACCENTS and folder.below(f"{top}{accent}"):
                folder.problem(f"{top}{accent}", "is not an accent of this data set", "move it away")
        for accent in ACCENTS:
            for speaker in folder.directories(f"{top}{accent}"):
                path = f"{top}{accent}/{speaker}"
                for name in folder.files(path):
                    found.append(Utterance(f"{path}/{name}", (accent,), speaker=f"{accent} {speaker}"))
        yield from self.mixed(found, valid=0.16, test=0.2) if self.split == "paper" else self.apart(folder, found)
