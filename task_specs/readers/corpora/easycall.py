"""EasyCall: severity of the dysarthria of Italian speakers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from task_specs.readers.corpus import DividedCorpus, Utterance
from task_specs.readers.folder import Folder

# Therapy Outcome Measure of each speaker with dysarthria, 1 (mild) to 5 (very severe), from the corpus paper.
SEVERITY = {
    "f01": 1, "f02": 3, "f03": 1, "f05": 1, "f06": 1, "f07": 1, "f08": 1, "f09": 1, "f10": 5, "f11": 2, "m01": 3,
    "m02": 1, "m03": 3, "m04": 1, "m05": 4, "m06": 4, "m07": 4, "m08": 3, "m09": 1, "m10": 3, "m11": 5, "m12": 1,
    "m13": 1, "m14": 5, "m15": 1, "m16": 3, "m17": 1, "m18": 1, "m19": 3, "m20": 1,
}  # fmt: skip
HEALTHY = ("fc", "mc")
UNRATED = ("f04",)
"""Speakers of the corpus without a published severity."""


class EasyCall(DividedCorpus):
    """``<speaker>/**/*.wav``: f and m are speakers with dysarthria, fc and mc healthy speakers.

    Labels are 0 (healthy) to 5. f04, whose severity is not published, is left out, so that no published count applies.
    Splits have different speakers, except for severity 2, which has one speaker. ``paper`` takes a tenth of all
    recordings each for valid and test.
    """

    origin: ClassVar[str] = "http://neurolab.unife.it/easycallcorpus"
    licence: ClassVar[str] = "by the terms of its site, research only"
    classes: ClassVar[tuple[int, ...]] = (6,)

    split: Literal["speakers", "paper"] = "speakers"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.top(*SEVERITY)
        found: list[Utterance] = []
        speakers = folder.directories(top.rstrip("/"))
        absent = sorted(set(SEVERITY).difference(map(str.lower, speakers)))
        if absent:
            others = f", nor any of {len(absent) - 1} more" if absent[1:] else ""
            message = f"there is no directory of the speaker {absent[0]}{others}"
            if self.missing == "drop" and len(absent) < len(SEVERITY):
                folder.note(message)
            else:
                folder.missing(top.rstrip("/"), message, ", or write 'missing: drop' under data to leave it out")
        for speaker in speakers:
            severity = 0 if speaker.lower().startswith(HEALTHY) else SEVERITY.get(speaker.lower())
            if severity is None:
                if speaker.lower() not in UNRATED and folder.below(f"{top}{speaker}"):
                    folder.problem(f"{top}{speaker}", "is not a speaker of this data set", "move it away")
                continue
            names = folder.below(f"{top}{speaker}")
            if not names:
                folder.missing(f"{top}{speaker}", "holds no .wav files")
            for name in names:
                found.append(Utterance(f"{top}{speaker}/{name}", (str(severity),), speaker=speaker))
        yield from self.mixed(found) if self.split == "paper" else self.apart(folder, found)
