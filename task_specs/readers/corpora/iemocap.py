"""IEMOCAP: four emotions of actors in dialogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from task_specs.example import Split
from task_specs.readers.corpus import Counts, DividedCorpus, Utterance
from task_specs.readers.folder import Folder

SESSIONS = 5
EMOTIONS = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
"""Labels of emotions. Excitement counts as happiness; other emotions and turns without agreement are left out."""


class Iemocap(DividedCorpus):
    """``Session<n>/dialog/EmoEvaluation/*.txt`` and ``Session<n>/sentences/wav/<dialogue>/<turn>.wav``.

    One session, with two speakers, is test, and the next one valid. ``paper`` draws a fifth of the other four sessions
    for valid.
    """

    origin: ClassVar[str] = "https://sail.usc.edu/iemocap (on request)"
    licence: ClassVar[str] = "IEMOCAP release agreement, research only"
    classes: ClassVar[tuple[int, ...]] = (4,)
    parts: ClassVar[tuple[str, ...]] = tuple(f"Session{number}" for number in range(1, SESSIONS + 1))
    published: ClassVar[dict[str, Counts]] = {
        name: {"all": {"neu": 1_708, "hap": 1_636, "ang": 1_103, "sad": 1_084}} for name in ("sessions", "paper")
    }
    session_counts: ClassVar[tuple[int, ...]] = (1_085, 1_023, 1_151, 1_031, 1_241)

    split: Literal["sessions", "paper"] = "sessions"
    session: int = Field(1, ge=1, le=SESSIONS, strict=True)
    """Session used as test."""

    @property
    def expected(self) -> Counts:
        counts = super().expected
        return {**counts, "test": self.session_counts[self.session - 1]} if counts else counts

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.top(*(f"{part}/dialog" for part in self.parts))
        rest: list[Utterance] = []
        for session in range(1, SESSIONS + 1):
            valid = session == self.session % SESSIONS + 1
            split: Split = "test" if session == self.session else "valid" if valid else "train"
            found = [replace(turn, split=split) for turn in _turns(folder, f"{top}Session{session}")]
            if self.split == "paper" and split != "test":
                rest += found
            else:
                yield from found
        yield from self.mixed(rest, valid=0.2, test=0)


def _turns(folder: Folder, session: str) -> Iterator[Utterance]:
    labels = f"{session}/dialog/EmoEvaluation"
    for file in folder.files(labels, ".txt"):
        path = f"{labels}/{file}"
        for line, text in folder.lines(path):
            if not text.startswith("["):
                # The header, or one annotator's judgement.
                continue
            turn = re.fullmatch(r"\[[\d.]+ - [\d.]+\]\t(\w+)\t(\w+)\t\[.*\]\s*", text)
            if turn is None:
                folder.problem(path, "is not a turn with its emotion", "get the file again", line=line)
            elif turn[2] in EMOTIONS:
                dialogue, _, number = turn[1].rpartition("_")
                audio = f"{session}/sentences/wav/{dialogue}/{turn[1]}.wav"
                # The letter in the turn's number gives the speaker; that in the dialogue's name, who wore the markers.
                speaker = f"{dialogue[:5]}{number[0]}"
                yield Utterance(audio, (EMOTIONS[turn[2]],), speaker=speaker, listed=(path, line))
