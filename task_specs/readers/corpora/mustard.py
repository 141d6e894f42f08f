"""MUStARD: sarcastic and sincere remarks in television shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from task_specs.readers.corpus import Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder
from task_specs.readers.sound_of_videos import sound_in

LIST, VIDEOS = "sarcasm_data.json", "utterances_final"
TEST_SHOW = "FRIENDS"
SHOWN = {True: "sarcastic", False: "sincere"}


class Mustard(DividedCorpus):
    """``sarcasm_data.json`` and the sound of the videos, ``utterances_final/<key>.wav`` (or ``utterances_final_wav``).

    ``show`` is the authors' speaker-independent setting: test is all of Friends; a tenth of the other shows is valid,
    with different speakers. ``mixed`` takes a tenth each for valid and test regardless of speakers. The paper uses five
    folds like this, which are published only as a pickle, which is not read.
    """

    origin: ClassVar[str] = "https://github.com/soujanyaporia/MUStARD"
    licence: ClassVar[str] = "annotations MIT; the clips are of copyrighted television"
    classes: ClassVar[tuple[int, ...]] = (2,)
    parts: ClassVar[tuple[str, ...]] = (VIDEOS, "data")
    sources: ClassVar[Mapping[str, str]] = {
        LIST: f"https://raw.githubusercontent.com/soujanyaporia/MUStARD/master/data/{LIST}"
    }
    published: ClassVar[dict[str, Counts]] = {
        "show": {"all": {"sarcastic": 345, "sincere": 345}, "test": 356},
        "mixed": {"all": {"sarcastic": 345, "sincere": 345}},
    }

    split: Literal["show", "mixed"] = "show"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        path = folder.first(LIST, f"data/{LIST}")
        sounds = sound_in(folder, VIDEOS, f"{VIDEOS}_wav")
        if sounds is None:
            return
        found: list[Utterance] = []
        shows: dict[str, str] = {}
        for key, entry in _entries(folder, path):
            if not isinstance(entry, dict) or not isinstance(entry.get("sarcasm"), bool):
                folder.problem(path, "is not true or false", "get the file again", field=f"{key}.sarcasm")
                continue
            audio, show = f"{sounds}/{key}.wav", str(entry.get("show", ""))
            shows[audio] = show
            found.append(Utterance(audio, (SHOWN[entry["sarcasm"]],), speaker=f"{show} {entry.get('speaker', '')}"))
        if self.split == "mixed":
            yield from self.mixed(found)
            return
        yield from (replace(one, split="test") for one in found if shows[one.path] == TEST_SHOW)
        yield from self.apart(folder, [one for one in found if shows[one.path] != TEST_SHOW], test=0)


def _entries(folder: Folder, path: str) -> list[tuple[str, Any]]:
    data = folder.read(path)
    if data is None:
        return []
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError) as error:
        folder.problem(path, f"is not JSON ({error})", "get the file again")
        return []
    if isinstance(entries, dict):
        return list(entries.items())
    folder.problem(path, "is not an object of utterances", "get the file again")
    return []
