"""Reading and checking of a task's examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pydantic_core import PydanticCustomError

from infra.errors import InvalidInputs
from task_specs.example import SPLITS, Clip, Example, Split
from task_specs.hygiene import Finding, findings
from task_specs.label import MOST_LABELS, visible_label
from task_specs.problems import ProblemList, shown
from task_specs.readers import Reading, Row
from task_specs.recordings import check_headers, without_copies
from task_specs.schema import TaskSpec
from task_specs.validation import described

MANY_ROWS = 40
"""Rows from which on labels that mostly occur once are taken for another column's values."""


@dataclass(frozen=True)
class Dataset:
    """Examples of a task.

    Attributes:
        examples: examples in the order of the manifest.
        slots: names of the slots.
        labels: labels of each slot in the train split, sorted.
        notes: sentences that a user should read although nothing is wrong.
    """

    examples: tuple[Example, ...]
    slots: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def counts(self) -> dict[Split, int]:
        """Number of examples of each split."""
        found = Counter(example.split for example in self.examples)
        return {split: found[split] for split in SPLITS}

    @cached_property
    def audio(self) -> bool:
        """Whether examples are recordings, which must be tokenized, rather than units."""
        return any(example.clip is not None for example in self.examples)

    @cached_property
    def untimed(self) -> bool:
        """Whether examples are units without durations."""
        return any(example.units is not None and example.durations is None for example in self.examples)

    @cached_property
    def highest_unit(self) -> int | None:
        """Highest unit number; ``None`` for recordings."""
        return max((max(example.units) for example in self.examples if example.units), default=None)

    def shots(self, shots: int) -> dict[tuple[str, ...], int]:
        """Return the number of training examples per combination of labels in a draw of ``shots``."""
        found = Counter(example.labels for example in self.examples if example.split == "train")
        return {labels: min(count, shots) for labels, count in sorted(found.items())}

    def split(self, split: Split) -> tuple[Example, ...]:
        """Return the examples of a split, in the order of the manifest."""
        return tuple(example for example in self.examples if example.split == split)


def read_dataset(spec: TaskSpec) -> Dataset:
    """Read and check the examples of a task, without decoding audio.

    For a published data set, headers of recordings are read, and copies are searched for unless the reader says
    otherwise.

    Raises:
        InvalidInputs: the data have problems; it lists all of them.
        MissingExtra: the reader needs a package that is not installed.
    """
    problems = ProblemList()
    reading = spec.data.read(problems)
    _check_clips(reading.rows, problems)
    notes = list(reading.notes)
    if spec.data.opened:
        notes += check_headers(reading.rows, problems)
    odd: list[Finding] = []
    if spec.data.duplicates is not None:
        rows, copies, odd = without_copies(reading.rows, spec.data.duplicates, problems)
        reading = replace(reading, rows=rows)
        notes += copies
    if reading.complete:
        _check_splits(spec, reading, problems)
        _check_labels(spec, reading, problems)
        _check_label_texts(spec, reading, problems)
        _check_positive(spec, reading, problems)
        _check_speakers(spec, reading, problems)
    odd += findings(reading.rows, spec.slots, repeats=spec.data.repeats)
    for finding in odd:
        if spec.strict:
            problems.add(spec.source, "data", finding.message, f"{finding.remedy}, or remove 'strict'")
        else:
            notes.append(f"{finding.message}; {finding.remedy}")
    if problems:
        raise InvalidInputs(problems.collected())
    examples = tuple(row.example for row in reading.rows)
    return Dataset(examples, spec.slots, _classes(examples, len(spec.slots)), tuple(notes))


def _classes(examples: Sequence[Example], slots: int) -> tuple[tuple[str, ...], ...]:
    train = [example.labels for example in examples if example.split == "train"]
    return tuple(tuple(sorted({labels[slot] for labels in train})) for slot in range(slots))


def _check_clips(rows: Sequence[Row], problems: ProblemList) -> None:
    """Check that no clip is in two splits, since training examples must not be tested on."""
    first: dict[Clip, Row] = {}
    for row in rows:
        clip = row.example.clip
        if clip is None:
            continue
        other = first.setdefault(clip, row)
        if other.example.split != row.example.split:
            there = shown(other.uri) if other.line is None else f"{shown(other.uri)}:{other.line}"
            message = f"this clip of split {row.example.split} is also in {other.example.split} ({there})"
            problems.add(row.uri, "split", message, "keep it in one split", line=row.line, kind="clip in two splits")


def _check_splits(spec: TaskSpec, reading: Reading, problems: ProblemList) -> None:
    present = {row.example.split for row in reading.rows}
    for split in SPLITS:
        if split not in present:
            uri = reading.rows[0].uri if reading.rows else spec.source
            message = f"no row belongs to the split {split}"
            problems.add(uri, "split", message, "put examples into train, valid and test")


def _check_labels(spec: TaskSpec, reading: Reading, problems: ProblemList) -> None:
    """Check that each slot has at least two labels, and that all of them occur in train."""
    classes = _classes([row.example for row in reading.rows], len(spec.slots))
    for slot, name in enumerate(spec.slots):
        known = set(classes[slot])
        if len(known) == 1:
            uri = next(row.uri for row in reading.rows if row.example.split == "train")
            message = f"train has only the label {classes[slot][0]!r}"
            problems.add(uri, name, message, "a classification needs at least two; correct the column")
        if not known:
            continue
        distinct = {row.example.labels[slot] for row in reading.rows}
        if len(reading.rows) >= MANY_ROWS and 2 * len(distinct) > len(reading.rows):
            message = f"has {len(distinct):,} different labels in {len(reading.rows):,} rows"
            problems.add(reading.rows[0].uri, name, message, "name the column that holds the class in data.label")
            continue
        for row in reading.rows:
            label = row.example.labels[slot]
            if label not in known:
                known.add(label)
                message = f"{label!r} occurs in {row.example.split} but not in train"
                remedy = "add training examples of it, or correct the label"
                problems.add(row.uri, name, message, remedy, line=row.line, kind="unknown label")


def _check_label_texts(spec: TaskSpec, reading: Reading, problems: ProblemList) -> None:
    """Check that a bundle can hold every label, so that no task is tuned that cannot be published."""
    for slot, name in enumerate(spec.slots):
        first: dict[str, Row] = {}
        for row in reading.rows:
            first.setdefault(row.example.labels[slot], row)
        for text, row in first.items():
            try:
                visible_label(text)
            except PydanticCustomError as error:
                wrong = error.context or {}
                message = f"{described(text)} {wrong['message']}"
                problems.add(row.uri, name, message, wrong["remedy"], line=row.line, kind="label")
        if len(first) > MOST_LABELS:
            message = f"there are {len(first)} labels, but a bundle holds at most {MOST_LABELS}"
            problems.add(spec.source, name, message, "correct the column, or merge rare labels")


def _check_positive(spec: TaskSpec, reading: Reading, problems: ProblemList) -> None:
    """Check that the positive class is one of two, and that each split has examples of both."""
    if spec.positive is None:
        return
    [classes] = _classes([row.example for row in reading.rows], 1)
    if len(classes) != 2 or spec.positive not in classes:
        message = f"{spec.positive!r} must be one of two classes, but train has {', '.join(map(repr, classes[:5]))}"
        remedy = "name one of two classes" if len(classes) == 2 else "remove it, and use macro_f1"
        problems.add(spec.source, "positive", message, remedy)
        return
    for split in SPLITS[1:]:
        present = {row.example.labels[0] for row in reading.rows if row.example.split == split}
        for label in set(classes) - present if present else ():
            message = f"no example of {label!r} belongs to the split {split}"
            problems.add(spec.source, "positive", message, "add some, or remove 'positive'", kind=f"{split} {label}")


def _check_speakers(spec: TaskSpec, reading: Reading, problems: ProblemList) -> None:
    """Check that test examples name their speaker if the bootstrap draws speakers."""
    for row in reading.rows if spec.bootstrap == "speakers" else ():
        if row.example.split == "test" and row.example.speaker is None:
            remedy = "fill it in, or set bootstrap to utterances"
            problems.add(row.uri, "speaker", "is empty, but the bootstrap draws speakers", remedy, line=row.line)
