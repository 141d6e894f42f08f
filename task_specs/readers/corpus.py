"""What every reader of a published data set is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from pydantic import Field

from infra.printable import first_of
from task_specs.example import Clip, Example, Split
from task_specs.field_types import Location
from task_specs.problems import ProblemList, shown
from task_specs.readers.folder import Folder
from task_specs.readers.left_out import MOST_LISTED
from task_specs.readers.listed_recordings import ListedRecordings
from task_specs.readers.reader import Reader, Reading, Row
from task_specs.readers.splitting import at_random, speakers_apart

Counts = Mapping[Split | Literal["all"], int | Mapping[str, int]]
"""Recordings of each split, or of all together; by class where that is published."""


@dataclass(frozen=True)
class Utterance:
    """A recording of a data set and what is known of it.

    Attributes:
        path: relative to the root.
        labels: one per slot.
        split: the split it belongs to.
        speaker: who speaks, where known.
        start: first second that counts.
        end: second at which it ends.
        listed: the file, relative to the root, and the line of it that name the recording; ``None`` for one that was
            found in a directory.
    """

    path: str
    labels: tuple[str, ...]
    split: Split = "train"
    speaker: str | None = None
    start: float | None = None
    end: float | None = None
    listed: tuple[str, int] | None = None


class Corpus(Reader):
    """Base of the readers of published data sets in the layout in which they are distributed.

    A subclass says where the data set can be had, and yields its utterances.
    """

    origin: ClassVar[str]
    """Where it can be had."""
    licence: ClassVar[str]
    classes: ClassVar[tuple[int, ...]]
    """Classes of each slot."""
    label_names: ClassVar[tuple[str, ...]] = ("label",)
    parts: ClassVar[tuple[str, ...]] = ()
    """Its own directories, any of which a root may be by mistake."""
    bare: ClassVar[tuple[str, ...]] = ()
    """Its archives, without their endings, that hold no directory of their own."""
    sources: ClassVar[Mapping[str, str]] = {}
    """Where single files of it can be had that come apart from the recordings, by their names."""
    published: ClassVar[Mapping[str, Counts]] = {}
    """Counts of the complete data set, for each value of ``split`` for which they are known."""

    root: Location
    """Its directory, as it was unpacked."""
    split: str = "official"
    """Which division into train, valid and test."""
    check: Literal["open", "names"] = "open"
    """``open`` reads the header of every recording, so that unreadable ones are problems; with ``names`` they only
    have to be there, and the tokenizer quarantines what it cannot read. Recordings in S3 are not opened."""
    missing: Literal["refuse", "drop"] = "refuse"
    """What becomes of recordings that its lists name and that are not there: ``drop`` does without them, and says how
    many there are."""

    @property
    def slots(self) -> tuple[str, ...]:
        return self.label_names

    @property
    def opened(self) -> bool:
        return self.check == "open"

    @property
    def expected(self) -> Counts:
        """Counts of the complete data set with these settings; empty where they are not known."""
        return {} if self.duplicates == "drop" else self.published.get(self.split, {})

    @property
    def remedy(self) -> str:
        """What to do about something that is missing."""
        return f"get it from {self.origin} (licence: {self.licence})"

    def read(self, problems: ProblemList) -> Reading:
        """Reads every utterance, in the order of its lists and file names."""
        folder = Folder(self.root, problems, self.remedy, parts=self.parts, bare=self.bare, sources=self.sources)
        if not folder.usable():
            return Reading([], complete=False)
        recordings = ListedRecordings(folder)
        rows: list[Row] = []
        first: dict[tuple[Clip, Split], Row] = {}
        for utterance in self.utterances(folder):
            uri = recordings.find(utterance.path, utterance.listed)
            if uri is None and self.missing == "drop":
                continue
            clip = None if uri is None else Clip(uri, utterance.start or None, utterance.end)
            path, line = utterance.listed or (utterance.path, None)
            example = Example(utterance.split, utterance.labels, clip, speaker=utterance.speaker)
            row = Row(example, folder.uri(path), line)
            rows.append(row)
            if clip is not None and line is not None and not self.repeats:
                other = first.setdefault((clip, utterance.split), row)
                if other is not row:
                    message = f"this clip is listed before, in {shown(other.uri)}:{other.line}"
                    problems.add(row.uri, "", message, "remove one of the two lines", line=line, kind="listed twice")
        recordings.report(problems, self.remedy, drop=self.missing == "drop")
        return Reading(rows, folder.complete, tuple(folder.notes))

    @abstractmethod
    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        """Every utterance of the data set; what is missing or wrong is noted in ``folder``."""


class DividedCorpus(Corpus):
    """A data set without a division of its own, or with one of two: the other is drawn with ``seed``."""

    seed: int = Field(0, ge=0, lt=2**32, strict=True)
    """Of the division that is drawn."""

    def apart(
        self, folder: Folder, found: Sequence[Utterance], *, valid: float = 0.1, test: float = 0.1
    ) -> Iterator[Utterance]:
        """The utterances, divided so that no speaker is in two splits, as `speakers_apart` does it."""
        labels = [utterance.labels[0] for utterance in found]
        voices = [utterance.speaker or utterance.path for utterance in found]
        paths = [utterance.path for utterance in found]
        division = speakers_apart(labels, voices, paths, seed=self.seed, valid=valid, test=test)
        known = {utterance.labels[0] for utterance in found if utterance.speaker is not None}
        undivided = [label for label in division.undivided if label in known]
        if undivided:
            names = first_of(undivided, MOST_LISTED)
            text = f"{names}: too few speakers to keep them apart, so each is in several splits"
            folder.notes.append(text)
        for utterance, split in zip(found, division.splits, strict=True):
            yield replace(utterance, split=split)

    def mixed(self, found: Sequence[Utterance], *, valid: float = 0.1, test: float = 0.1) -> Iterator[Utterance]:
        """The utterances, divided at random, whoever speaks."""
        splits = at_random([utterance.path for utterance in found], seed=self.seed, valid=valid, test=test)
        for utterance, split in zip(found, splits, strict=True):
            yield replace(utterance, split=split)
