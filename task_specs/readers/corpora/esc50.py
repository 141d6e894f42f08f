"""ESC-50: fifty classes of environmental sounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from task_specs.example import Split
from task_specs.readers.corpus import Corpus, Counts, Utterance
from task_specs.readers.folder import Folder

LIST = "meta/esc50.csv"
FOLDS = 5


class Esc50(Corpus):
    """A checkout of the repository, or its zip: ``meta/esc50.csv`` and ``audio/<fold>-<source>-<take>-<target>.wav``.

    One of the five official folds is test and the next one valid, so that clips of one recording are in one split.
    ``paper`` takes a fifth of the other four folds for valid, with the paper's draw.
    """

    origin: ClassVar[str] = "https://github.com/karolpiczak/ESC-50"
    licence: ClassVar[str] = "CC BY-NC 3.0"
    classes: ClassVar[tuple[int, ...]] = (50,)
    parts: ClassVar[tuple[str, ...]] = ("audio", "meta")
    published: ClassVar[dict[str, Counts]] = {
        "official": {"train": 1_200, "valid": 400, "test": 400},
        "paper": {"train": 1_280, "valid": 320, "test": 400},
    }

    split: Literal["official", "paper"] = "official"
    fold: int = Field(1, ge=1, le=FOLDS, strict=True)
    """Fold used as test."""

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        top = folder.top(LIST)
        path = f"{top}{LIST}"
        rest: list[Utterance] = []
        for line, row in folder.table(path, ("filename", "fold", "category")):
            if row["fold"] not in {str(fold) for fold in range(1, FOLDS + 1)} or not row["category"]:
                folder.problem(path, f"{row['fold']!r} is not a fold", "get the file again", line=line, field="fold")
                continue
            fold = int(row["fold"])
            split: Split = "test" if fold == self.fold else "valid" if fold == self.fold % FOLDS + 1 else "train"
            utterance = Utterance(f"{top}audio/{row['filename']}", (row["category"],), split, listed=(path, line))
            if self.split == "paper" and split != "test":
                rest.append(utterance)
            else:
                yield utterance
        # The split of scikit-learn's train_test_split(test_size=0.2, random_state=1).
        order = np.random.RandomState(1).permutation(len(rest))
        valid = set(order[: math.ceil(0.2 * len(rest))].tolist())
        for place, utterance in enumerate(rest):
            yield replace(utterance, split="valid" if place in valid else "train")
