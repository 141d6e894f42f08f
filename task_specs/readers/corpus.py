"""Base classes of the readers of published data sets."""

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
"""Number of recordings of each split or of all splits, by class if that is published."""


@dataclass(frozen=True)
class Utterance:
    """A recording of a data set, with its labels.

    Attributes:
        path: path relative to the root.
        labels: labels in the order of the slots.
        split: split of the recording.
        speaker: name of the speaker; ``None`` if unknown.
        start: start of the clip in seconds; ``None``: the start of the file.
        end: end of the clip in seconds; ``None``: the end of the file.
        listed: list, relative to the root, and line that name the recording; ``None`` if it was found in a directory.
    """

    path: str
    labels: tuple[str, ...]
    split: Split = "train"
    speaker: str | None = None
    start: float | None = None
    end: float | None = None
    listed: tuple[str, int] | None = None


class Corpus(Reader):
    """Base of the readers of published data sets, in the layout of their distribution.

    A subclass describes the data set and yields its utterances.
    """

    origin: ClassVar[str]
    """Where to get the data set."""
    licence: ClassVar[str]
    classes: ClassVar[tuple[int, ...]]
    """Number of classes of each slot."""
    label_names: ClassVar[tuple[str, ...]] = ("label",)
    parts: ClassVar[tuple[str, ...]] = ()
    """Directories of the data set, one of which may be given as the root by mistake."""
    bare: ClassVar[tuple[str, ...]] = ()
    """Archives of the data set, without their endings, that have no top-level directory."""
    sources: ClassVar[Mapping[str, str]] = {}
    """Where to get files that are distributed separately, by their names."""
    published: ClassVar[Mapping[str, Counts]] = {}
    """Counts of the complete data set, for each value of ``split`` with known counts."""

    root: Location
    """Directory of the unpacked data set."""
    split: str = "official"
    """How the data set is divided into train, valid and test."""
    check: Literal["open", "names"] = "open"
    """``open`` reads the header of every recording, so that unreadable ones are problems; with ``names`` recordings
    only have to exist, and the tokenizer quarantines unreadable ones. Recordings in S3 are not opened."""
    missing: Literal["refuse", "drop"] = "refuse"
    """What to do with listed recordings that are missing: ``drop`` leaves them out, and reports their number."""

    @property
    def slots(self) -> tuple[str, ...]:
        return self.label_names

    @property
    def opened(self) -> bool:
        return self.check == "open"

    @property
    def expected(self) -> Counts:
        """Counts of the complete data set with these settings; empty if unknown."""
        return {} if self.duplicates == "drop" else self.published.get(self.split, {})

    @property
    def remedy(self) -> str:
        """Remedy for missing files."""
        return f"get it from {self.origin} (licence: {self.licence})"

    def read(self, problems: ProblemList) -> Reading:
        """Read every utterance, in the order of lists and file names."""
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
                    message = f"this clip is already listed in {shown(other.uri)}:{other.line}"
                    problems.add(row.uri, "", message, "remove one of the two lines", line=line, kind="listed twice")
        recordings.report(problems, self.remedy, drop=self.missing == "drop")
        return Reading(rows, folder.complete, tuple(folder.notes))

    @abstractmethod
    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        """Yield every utterance of the data set, and report problems to ``folder``."""


class DividedCorpus(Corpus):
    """A data set without official valid or test splits, which are drawn with ``seed``."""

    seed: int = Field(0, ge=0, lt=2**32, strict=True)
    """Seed of the drawn splits."""

    def apart(
        self, folder: Folder, found: Sequence[Utterance], *, valid: float = 0.1, test: float = 0.1
    ) -> Iterator[Utterance]:
        """Yield the utterances, split so that no speaker is in two splits, see `speakers_apart`."""
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
        """Yield the utterances, split at random regardless of speakers."""
        splits = at_random([utterance.path for utterance in found], seed=self.seed, valid=valid, test=test)
        for utterance, split in zip(found, splits, strict=True):
            yield replace(utterance, split=split)
