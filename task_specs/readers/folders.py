"""Reader of recordings in a folder per label, without a list."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from infra.errors import StorageError
from task_specs.example import SPLITS, Split
from task_specs.problems import shown
from task_specs.readers.audio_files import DIRECTORY, FILE, Kind, NotFound
from task_specs.readers.corpus import DividedCorpus, Utterance
from task_specs.readers.folder import READABLE, Folder
from task_specs.readers.left_out import LeftOut, listed
from task_specs.split_words import means_evaluation, name_parts, name_speakers, name_splits, split_of, splits_of
from task_specs.validation import fault

FORMATS = "WAV, FLAC, OGG or MP3"
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
DRAWN = "or write 'split: drawn' under data if every directory is a label"
FEWEST = 3
"""Fewest recordings of a label, one for each split."""
MOST_LEVELS = 8
"""Most nested directories that hold only one directory."""


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise fault(f"is not a regular expression ({error})", "correct it") from error
    return text


class Folders(DividedCorpus):
    """``<label>/**/*.wav`` (or FLAC, OGG, MP3) below the root, or below a directory for each of train, valid and test.

    Directories of splits may have other common names, such as ``dev`` or ``Validation``. Without them, a tenth of each
    label's recordings each is test and valid; with ``speaker`` no speaker is in two splits.
    """

    origin: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    classes: ClassVar[tuple[int, ...]] = ()

    split: Literal["found", "drawn"] = "found"
    """``found`` takes directories with words for splits as splits; ``drawn`` takes every directory as a label, and
    draws the splits."""
    speaker: Annotated[str, AfterValidator(_expression)] | None = None
    """Regular expression for the speaker in a path below the root: its first group, or else its whole match."""

    @property
    def remedy(self) -> str:
        return "correct 'root'"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        left_out = LeftOut(READABLE)
        names = _directories(folder, "", left_out)
        divided = self._divided(folder, names)
        if divided is None:
            return
        found: list[Utterance] = []
        for split, directory in divided.items():
            inside = _directories(folder, directory, left_out) if directory else names
            labels = self._labels(folder, directory, inside)
            for name in labels:
                found += self._of_label(folder, directory, name, split, left_out)
            same = [label for label, count in Counter(map(_label, labels)).items() if count > 1]
            if same:
                folder.notes.append(f"several directories have names of the same label {listed(same)}")
        for name in names if "" not in divided.values() else ():
            if name not in divided.values() and (count := len(folder.below(name, READABLE))):
                left_out.beside[name] = count
        folder.notes += left_out.notes()
        if "" in divided.values():
            if folder.complete:
                _note_few(folder, found)
            yield from self.apart(folder, found)
        else:
            yield from found

    def _divided(self, folder: Folder, names: Sequence[str]) -> dict[Split, str] | None:
        """Return the directory of each split, or the root as train if splits are drawn; ``None`` if this is unclear,
        which is a problem."""
        drawn: dict[Split, str] = {"train": ""}
        if self.split == "drawn":
            return drawn
        called: dict[Split, list[str]] = defaultdict(list)
        meant = splits_of(names)
        for name in names:
            # Ambiguous names count as test: beside another test directory this is reported as one too many.
            if split := meant.get(name, "test" if means_evaluation(name) else None):
                called[split].append(name)
        several = [(split, found) for split, found in called.items() if len(found) > 1]
        missing = [split for split in SPLITS if split not in called]
        directories = [name for found in called.values() for name in found]
        if len(directories) < 2 and name_splits(names):
            folder.problem("", f"{listed(names)} seem to be splits", f"name them train, valid and test, {DRAWN}")
        elif name_parts(names):
            folder.problem("", f"{listed(names)} seem to be parts of the data", f"join their directories, {DRAWN}")
        elif not called:
            return drawn
        elif several:
            for split, found in several:
                message = f"{listed(found)} are names of the same split {split}"
                folder.problem("", message, f"keep or rename one of them, {DRAWN}")
        elif not missing:
            unsure = {name: split for name, split in meant.items() if split_of(name) is None}
            folder.notes += [f"{name!r} is taken as {split}" for name, split in unsure.items()]
            return {split: called[split][0] for split in SPLITS}
        elif len(directories) > 1:
            message = f"{listed(directories)} are names of splits, but no directory is one of {' and '.join(missing)}"
            folder.problem("", message, f"add one, {DRAWN}")
        elif not (others := [name for name in names if name not in directories and folder.below(name, READABLE)]):
            [name] = directories
            message = f"{name!r} is the name of a split, but no directory is one of {' and '.join(missing)}"
            remedy = f"add them, or add {'/' + name!r} to 'root' to have its recordings split"
            folder.problem("", message, remedy)
        else:
            [name] = directories
            inside = set(_entries(folder, name, DIRECTORY)) & set(others)
            if not inside:
                folder.notes.append(f"{name!r} is taken as a label, since the directories beside it are not splits")
                return drawn
            message = f"{name!r} is the name of a split and holds {listed(sorted(inside))}, which are also beside it"
            folder.problem("", message, "put every label into one of train, valid and test")
        return None

    def _labels(self, folder: Folder, directory: str, names: Sequence[str]) -> Sequence[str]:
        """Return the names if they can be labels."""
        inside = {name: _entries(folder, f"{directory}/{name}" if directory else name, DIRECTORY) for name in names}
        if not directory and len(names) == 1 and not inside[names[0]]:
            message = f"{names[0]!r} is the only directory, and would be the only label"
            folder.problem("", message, "add directories of other labels beside it")
            return []
        if not directory and len(names) == 1 and inside[names[0]]:
            deepest = names[0]
            for _ in range(MOST_LEVELS):
                if len(deeper := _entries(folder, deepest, DIRECTORY)) == 1:
                    deepest += f"/{deeper[0]}"
            remedy = f"add {'/' + deepest!r} to 'root' if the labels are there"
            folder.problem("", f"{names[0]!r} is the only directory, and would be the only label", remedy)
            return []
        splits = {name: {split_of(deeper) for deeper in inside[name]} - {None} for name in names}
        if names and all(len(found) > 1 for found in splits.values()) and self.split == "found":
            message = f"the directories of labels hold those of splits, such as {names[0]}/{inside[names[0]][0]}"
            folder.problem(directory, message, f"put splits first, as in train/{names[0]}, {DRAWN}")
            return []
        if name_speakers(names) and len(shared := set.intersection(*map(set, inside.values()))) > 1:
            example = f"{min(shared)}/{names[0]}"
            folder.notes.append(
                f"{listed(names)} are taken as labels, though they seem to be speakers, of whom each has "
                f"{listed(sorted(shared))}; put labels first, as in {example}"
            )
        return names

    def _of_label(
        self, folder: Folder, directory: str, name: str, split: Split, left_out: LeftOut
    ) -> Iterator[Utterance]:
        at = f"{directory}/{name}" if directory else name
        label = _label(name)
        others: list[str] = []
        paths = folder.below(at, READABLE, others)
        if not label:
            folder.problem(at, "its name is blank, and would be a label", "rename it")
        elif not paths:
            counts = left_out.counted(others)
            what = f"holds no {FORMATS}, but {counts}" if counts else "is a label without a recording"
            remedy = "convert them to WAV or FLAC, or move the directory away" if counts else "add some, or remove it"
            folder.problem("", f"{at!r} {what}", remedy, kind="no recording")
        left_out.add(label, others)
        for path in paths if label else ():
            match = re.search(self.speaker, f"{at}/{path}") if self.speaker else None
            speaker = None if match is None else match[1] if match.re.groups else match[0]
            if self.speaker and not speaker:
                folder.problem(f"{at}/{path}", f"{self.speaker!r} finds no speaker", "correct 'speaker'")
            yield Utterance(f"{at}/{path}", (label,), split, speaker=speaker)


def _label(name: str) -> str:
    """Return a directory's name as a label."""
    return unicodedata.normalize("NFC", name).strip()


def _entries(folder: Folder, at: str, kind: Kind) -> list[str]:
    """Return the names in a directory; empty if it cannot be read, which is reported when its recordings are read."""
    try:
        return folder.audio.names(at, kind)
    except (NotFound, StorageError):
        return []


def _directories(folder: Folder, at: str, left_out: LeftOut) -> list[str]:
    """Return the names of the directories in ``at``; recordings beside them are left out."""
    loose = [name for name in _entries(folder, at, FILE) if name.lower().endswith(READABLE)]
    left_out.loose += [f"{at}/{name}" if at else name for name in loose]
    if loose and not _entries(folder, at, DIRECTORY):
        message = f"holds {len(loose)} recordings, but no directories of labels"
        remedy = "put each recording into a directory of its label"
        tables = [name for name in _entries(folder, at, FILE) if name.lower().endswith(TABLES)]
        if tables:
            path = f"{folder.audio.root}/{at}/{tables[0]}" if at else f"{folder.audio.root}/{tables[0]}"
            remedy = (
                f"have its labels read from the table there, 'reader: manifest' and 'path: {shown(path)}', or {remedy}"
            )
        folder.problem(at, message, f"{remedy}, {DRAWN}" if at else remedy)
        return []
    return folder.directories(at)


def _note_few(folder: Folder, found: Sequence[Utterance]) -> None:
    """Report labels with too few recordings to be in every split."""
    counts = Counter(utterance.labels[0] for utterance in found)
    few = sorted(label for label, count in counts.items() if count < FEWEST)
    if few and len(few) == len(counts):
        message = f"no label has {FEWEST} recordings, one for each split"
        folder.problem("", message, "add some; name directories by labels, not by speakers or recordings")
    elif few:
        text = f"{len(few)} of {len(counts)} labels have fewer than {FEWEST} recordings, and are in train only"
        folder.notes.append(f"{text}: {listed(few)}")
