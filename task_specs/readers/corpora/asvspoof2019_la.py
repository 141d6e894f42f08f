"""ASVspoof 2019, logical access: genuine speech against synthesized or converted speech."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from task_specs.example import Split
from task_specs.readers.corpus import Corpus, Counts, Utterance
from task_specs.readers.folder import Folder

PROTOCOLS = "ASVspoof2019_LA_cm_protocols"
PARTS: tuple[tuple[Split, str, str], ...] = (
    ("train", "train", "trn"),
    ("valid", "dev", "trl"),
    ("test", "eval", "trl"),
)


class AsvSpoof2019La(Corpus):
    """The directory ``LA``: ``ASVspoof2019_LA_cm_protocols`` and ``ASVspoof2019_LA_{train,dev,eval}/flac``.

    The splits are the official ones. They have different speakers, and most attacks in test occur in no other split.
    """

    origin: ClassVar[str] = "https://datashare.ed.ac.uk/handle/10283/3336 (LA.zip)"
    licence: ClassVar[str] = "ODC-BY 1.0"
    classes: ClassVar[tuple[int, ...]] = (2,)
    parts: ClassVar[tuple[str, ...]] = (PROTOCOLS, *(f"ASVspoof2019_LA_{part}" for _, part, _ in PARTS))
    published: ClassVar[dict[str, Counts]] = {
        "official": {
            "train": {"bonafide": 2_580, "spoof": 22_800},
            "valid": {"bonafide": 2_548, "spoof": 22_296},
            "test": {"bonafide": 7_355, "spoof": 63_882},
        }
    }

    split: Literal["official"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.top(PROTOCOLS)
        for split, part, kind in PARTS:
            path = f"{top}{PROTOCOLS}/ASVspoof2019.LA.cm.{part}.{kind}.txt"
            # Some copies of the protocols lack the third field, which is for physical access.
            for line, (speaker, name, *_, key) in folder.fields(path, 5, 4):
                if key in ("bonafide", "spoof"):
                    audio = f"{top}ASVspoof2019_LA_{part}/flac/{name}.flac"
                    yield Utterance(audio, (key,), split, speaker, listed=(path, line))
                else:
                    folder.problem(path, f"{key!r} is neither bonafide nor spoof", "get the file again", line=line)
