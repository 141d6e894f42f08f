"""The reader of recordings that lie in a folder for each label, without any list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from task_specs.example import SPLITS
from task_specs.fault import fault
from task_specs.readers.corpus import DividedCorpus, Utterance
from task_specs.readers.folder import Folder

ENDINGS = (".wav", ".flac", ".ogg", ".mp3")


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise fault(f"is not a regular expression ({error})", "correct it") from error
    return text


class Folders(DividedCorpus):
    """``<label>/**/*.wav`` (or FLAC, OGG, MP3) below the root, or below each of ``train``, ``valid`` and ``test``.

    Without these three, a tenth of each label's recordings is test and a tenth is valid; with ``speaker`` no speaker is
    in two splits.
    """

    origin: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    classes: ClassVar[tuple[int, ...]] = ()

    split: Literal["drawn"] = "drawn"
    speaker: Annotated[str, AfterValidator(_expression)] | None = None
    """Regular expression that finds the speaker in a path below the root: its first group, or all it matches."""

    @property
    def remedy(self) -> str:
        return "correct 'root'"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        names = folder.directories()
        if set(SPLITS) <= set(names):
            for split in SPLITS:
                for label in folder.directories(split):
                    for path in folder.below(f"{split}/{label}", ENDINGS):
                        yield Utterance(f"{split}/{label}/{path}", (label,), split)
            return
        found: list[Utterance] = []
        for label in names:
            for path in folder.below(label, ENDINGS):
                match = re.search(self.speaker, f"{label}/{path}") if self.speaker else None
                if self.speaker and match is None:
                    folder.problem(f"{label}/{path}", f"{self.speaker!r} finds no speaker", "correct 'speaker'")
                speaker = None if match is None else match[1] if match.re.groups else match[0]
                found.append(Utterance(f"{label}/{path}", (label,), speaker=speaker))
        yield from self.apart(folder, found)
