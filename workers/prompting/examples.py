"""The encoded examples of one task: units and class numbers, ready to tune on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from infra.digest import fingerprint
from infra.errors import DatasetError
from task_specs.example import SPLITS, Split
from workers.prompting.sampling import balanced_rows
from workers.speech.sequences import UnitSequences
from workers.untrusted.tensor_file import parse_tensors


@dataclass(frozen=True)
class SplitExamples:
    """Examples of one split: a row for each, or several where a long recording was cut into windows.

    Attributes:
        units: the unit sequences.
        labels: class numbers, int64 [rows, slots].
        speakers: number of the speaker of each example, from 0, int64 [examples]; ``None`` where nobody asks.
        windows: number of the example that each row is a part of, ascending from 0, int64 [rows]; ``None`` where every
            row is an example.
    """

    units: UnitSequences
    labels: NDArray[np.int64]
    speakers: NDArray[np.int64] | None = None
    windows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Rows."""
        return len(self.units)

    @property
    def examples(self) -> int:
        """Examples, which are rows unless there are windows."""
        return len(self._first_rows)

    @property
    def example_labels(self) -> NDArray[np.int64]:
        """Class numbers, int64 [examples, slots]."""
        return self.labels[self._first_rows]

    def row_in_one_piece(self, chosen: NDArray[np.int64]) -> int | None:
        """The row of the first of some examples, int64 [chosen], that was not cut into windows; ``None``: all were."""
        whole = chosen[self._row_counts[chosen] == 1]
        return int(self._first_rows[whole[0]]) if len(whole) else None

    def by_example(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of rows, float32 [rows, classes], as means over the windows of each example, [examples, classes]."""
        if self.windows is None:
            return scores
        means = np.add.reduceat(scores, self._first_rows) / self._row_counts[:, None]
        return means.astype(np.float32)

    def take(self, chosen: NDArray[np.int64]) -> SplitExamples:
        """Some of the examples, in the order given, int64 [chosen]."""
        speakers = None if self.speakers is None else self.speakers[chosen]
        if self.windows is None:
            return SplitExamples(self.units.take(chosen), self.labels[chosen], speakers)
        counts = self._row_counts[chosen]
        windows = np.repeat(np.arange(len(chosen)), counts)
        rows = self._first_rows[chosen][windows] + np.arange(len(windows)) - (np.cumsum(counts) - counts)[windows]
        return SplitExamples(self.units.take(rows), self.labels[rows], speakers, windows)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything by name, as it is stored and digested."""
        optional = {"speakers": self.speakers, "windows": self.windows}
        present = {name: array for name, array in optional.items() if array is not None}
        return {**self.units.arrays(), "labels": self.labels, **present}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SplitExamples:
        """Inverse of ``arrays``."""
        units = UnitSequences.from_arrays(arrays)
        return cls(units, arrays["labels"], arrays.get("speakers"), arrays.get("windows"))

    @cached_property
    def _first_rows(self) -> NDArray[np.int64]:
        """The first row of each example, int64 [examples]."""
        return np.arange(len(self)) if self.windows is None else np.flatnonzero(np.diff(self.windows, prepend=-1))

    @property
    def _row_counts(self) -> NDArray[np.int64]:
        """Rows of each example, int64 [examples]."""
        return np.diff(self._first_rows, append=len(self))


@dataclass(frozen=True)
class TaskExamples:
    """All splits of one task."""

    splits: Mapping[Split, SplitExamples]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, as stored and as digested."""
        return {
            f"{split}.{name}": array for split, part in self.splits.items() for name, array in part.arrays().items()
        }

    def digest(self) -> str:
        """SHA-256 over all units, labels and splits."""
        return fingerprint({}, self.tensors())

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        return save(self.tensors())

    @classmethod
    def from_bytes(cls, data: bytes) -> TaskExamples:
        """Inverse of ``to_bytes``.

        Raises:
            ValueError, KeyError: they are others' bytes.
        """
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in parse_tensors(data).items():
            split, _, part = name.partition(".")
            parts.setdefault(split, {})[part] = array
        return cls({split: SplitExamples.from_arrays(parts[split]) for split in SPLITS})


def check_examples(examples: TaskExamples, classes: Sequence[int], unit_count: int, task: str) -> None:
    """Every unit and every class number exists: one that does not would bring down the pass of all its neighbours.

    Raises:
        DatasetError: one does not, or a split is empty.
    """
    for split, part in examples.splits.items():
        units, labels = part.units.flat, part.labels
        if not len(part) or labels.shape != (len(part), len(classes)):
            raise DatasetError(f"{task}: split {split} has {labels.shape} labels for {len(part)} rows; encode it again")
        if len(units) and not (units.min() >= 0 and units.max() < unit_count):
            raise DatasetError(
                f"{task}: split {split} holds units {units.min()} to {units.max()}, but the backbone has "
                f"{unit_count}; use units of the backbone's own tokenizer"
            )
        if (labels < 0).any() or (labels >= np.array(classes)).any():
            raise DatasetError(f"{task}: split {split} holds a class that the task has not; run the job again")


BATCHES_PER_WINDOW = 8
"""Batches whose rows are sorted by length together: enough for little padding in attention, few enough for chance."""


class Batches:
    """An endless seeded order over the rows of a split, rows of similar lengths together; its state is the number of
    batches drawn.

    Args:
        lengths: units per row, int64 [rows].
        batch_size: rows of a batch; one of an epoch may be smaller.
        seed: of the order.
        groups: number of each row's group, from 0, int64 [rows]; an epoch then holds equally many rows of each group,
            as many in all as there are, and not every row once.
    """

    def __init__(
        self, lengths: NDArray[np.int64], *, batch_size: int, seed: int, groups: NDArray[np.int64] | None = None
    ) -> None:
        self._lengths, self._batch_size, self._seed, self._groups = lengths, batch_size, seed, groups
        self.per_epoch = -(-len(lengths) // batch_size)
        self._epoch = -1
        self._batches: list[NDArray[np.int64]] = []

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """Rows of the batch number ``index``, counted from 0 over all epochs."""
        epoch, position = divmod(index, self.per_epoch)
        if epoch != self._epoch:
            self._batches, self._epoch = self._of_epoch(epoch), epoch
        return self._batches[position]

    def _of_epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(len(self._lengths)) if self._groups is None else balanced_rows(self._groups, rng)
        width = BATCHES_PER_WINDOW * self._batch_size
        batches = []
        for start in range(0, len(order), width):
            window = order[start : start + width]
            window = window[np.argsort(self._lengths[window], kind="stable")]
            batches += [window[at : at + self._batch_size] for at in range(0, len(window), self._batch_size)]
        return [batches[number] for number in rng.permutation(len(batches))]
