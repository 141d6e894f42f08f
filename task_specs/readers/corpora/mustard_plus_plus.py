"""MUStARD++: sarcastic and sincere remarks in television shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal
from urllib.parse import quote

from task_specs.readers.corpus import Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder
from task_specs.readers.sound_of_videos import sound_in

LIST, VIDEOS = "mustard++_text.csv", "final_utterance_videos"
SOUNDS = ("final_utterances_videos", f"{VIDEOS}_wav", "final_utterance_audios")
"""Other common directories of the sound."""
SHOWN = {"1": "sarcastic", "1.0": "sarcastic", "0": "sincere", "0.0": "sincere"}
SOMEBODY = "PERSON"
"""Name of any unnamed speaker."""


class MustardPlusPlus(DividedCorpus):
    """``mustard++_text.csv`` and the sound of the videos, ``final_utterance_videos/<key>.wav``.

    Rows without a sarcasm value are the context of a remark and are left out. Splits have different speakers; ``paper``
    takes a tenth each for valid and test regardless of speakers.
    """

    origin: ClassVar[str] = "https://github.com/cfiltnlp/MUStARD_Plus_Plus"
    licence: ClassVar[str] = "by the terms of its repository; the clips are of copyrighted television"
    classes: ClassVar[tuple[int, ...]] = (2,)
    parts: ClassVar[tuple[str, ...]] = (VIDEOS, *SOUNDS)
    sources: ClassVar[Mapping[str, str]] = {
        LIST: f"https://raw.githubusercontent.com/cfiltnlp/MUStARD_Plus_Plus/main/{quote(LIST)}"
    }
    published: ClassVar[dict[str, Counts]] = {"speakers": {"all": 1_202}, "paper": {"all": 1_202}}

    split: Literal["speakers", "paper"] = "speakers"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        path = folder.first(LIST, quote(LIST))
        sounds = sound_in(folder, VIDEOS, *SOUNDS)
        if sounds is None:
            return
        found: list[Utterance] = []
        for line, row in folder.table(path, ("SCENE", "KEY", "SPEAKER", "SHOW", "Sarcasm")):
            value = row["Sarcasm"].strip()
            if not value:
                continue
            if value not in SHOWN:
                folder.problem(path, f"{value!r} is neither 0 nor 1", "get the file again", line=line, field="Sarcasm")
                continue
            # In the official file the KEY of the remark in 1_S11E03_067 is an emotion, 'Disgust'; like all videos, its
            # video is named by its scene.
            key = row["KEY"] if row["KEY"].startswith(row["SCENE"]) else f"{row['SCENE']}_u"
            speaker = key if row["SPEAKER"] == SOMEBODY else row["SPEAKER"]
            audio = f"{sounds}/{key}.wav"
            found.append(Utterance(audio, (SHOWN[value],), speaker=f"{row['SHOW']} {speaker}", listed=(path, line)))
        yield from self.mixed(found) if self.split == "paper" else self.apart(folder, found)
