"""VoxForge: identification of six languages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from task_specs.readers.audio_files import DIRECTORY
from task_specs.readers.corpus import Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder
from task_specs.readers.splitting import shuffled

LANGUAGES = ("de", "en", "es", "fr", "it", "ru")
AUDIO = "Trunk/Audio/Main/16kHz_16bit"
ENGLISH = "SpeechCorpus"
"""Directory of English on the server; those of the other languages are their codes."""


class VoxForge(DividedCorpus):
    """``downloads/<language>/Trunk/Audio/Main/16kHz_16bit/<speaker>-<date>-<id>/wav/*.wav``, archives unpacked there.

    ``wget -x`` puts ``downloads`` into a directory named after the server.

    Sessions are drawn until a language has enough recordings. Two thirds are train, a sixth each valid and test, with
    different speakers (every session of ``anonymous`` counts as a speaker). ``paper`` mixes the speakers.
    """

    origin: ClassVar[str] = (
        "the archives in https://storage.googleapis.com/tfds-data/downloads/voxforge/voxforge_urls.txt"
    )
    licence: ClassVar[str] = "GPL 3.0"
    classes: ClassVar[tuple[int, ...]] = (len(LANGUAGES),)
    parts: ClassVar[tuple[str, ...]] = ("downloads",)
    published: ClassVar[dict[str, Counts]] = {
        "speakers": {"all": 10_800},
        "paper": {"train": 7_200, "valid": 1_800, "test": 1_800},
    }

    split: Literal["speakers", "paper"] = "speakers"
    per_language: int = Field(1_800, ge=6, strict=True)
    """Most recordings of a language."""

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        trunks = [f"{language}/Trunk" for language in (*LANGUAGES, ENGLISH)]
        top = folder.above(*(f"downloads/{trunk}" for trunk in trunks), *trunks, levels=2)
        for language in LANGUAGES:
            there = f"{top}{language}"
            if language == "en" and folder.tree.spelled(there, DIRECTORY) is None:
                there = f"{top}{ENGLISH}"
            found: list[Utterance] = []
            sessions = folder.directories(f"{there}/{AUDIO}")
            folder.all_unpacked(f"{there}/{AUDIO}", sessions)
            for session in shuffled(sessions, self.seed):
                speaker = session.partition("-")[0]
                voice = f"{language} {session if speaker.lower() == 'anonymous' else speaker}"
                path = f"{there}/{AUDIO}/{session}"
                for name in folder.below(path, (".wav", ".flac")):
                    found.append(Utterance(f"{path}/{name}", (language,), speaker=voice))
                if len(found) >= self.per_language:
                    break
            if sessions and not found:
                folder.missing(f"{there}/{AUDIO}", "holds no .wav or .flac files in its directories")
            kept = found[: self.per_language]
            if self.split == "paper":
                yield from self.mixed(kept, valid=1 / 6, test=1 / 6)
            else:
                yield from self.apart(folder, kept, valid=1 / 6, test=1 / 6)
