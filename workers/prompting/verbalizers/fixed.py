"""Verbalizers without anything trained: each class is scored by one unit of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workers.prompting.verbalizers.verbalizer import SlotMapping, Verbalizer


class Fixed(Verbalizer):
    """A class's score is that of its unit's token."""

    one_unit_a_class: ClassVar[bool] = True

    def shape(self, *_: Any, **__: Any) -> None:
        return None

    def initialise(self, *_: Any) -> None:
        """There is nothing to set."""

    def matrix(self, mapping: SlotMapping) -> None:  # noqa: ARG002
        return None

    def scores(self, logits: Tensor, mapping: SlotMapping) -> Tensor:
        assert mapping.tokens is not None  # noqa: S101
        return logits.index_select(1, mapping.tokens)

    def outputs(self, logits: Tensor, mapping: SlotMapping) -> Tensor:  # noqa: ARG002
        return logits

    def answers(self, labels: Tensor, mapping: SlotMapping) -> Tensor:
        assert mapping.tokens is not None  # noqa: S101
        return mapping.tokens[labels]

    def begin_and_end(self, bos: int, eos: int) -> tuple[int, int]:
        return bos, eos


class Frequency(Fixed):
    """Frequent classes take frequent units."""

    def units(
        self,
        labels: NDArray[np.int64],
        units: NDArray[np.int16],
        *,
        classes: int,
        unit_tokens: NDArray[np.int64],
        seed: int,  # noqa: ARG002
    ) -> NDArray[np.int64]:
        return frequent_units(labels, units, classes=classes, unit_tokens=unit_tokens)


class Random(Fixed):
    """Units are drawn."""

    def units(
        self,
        labels: NDArray[np.int64],  # noqa: ARG002
        units: NDArray[np.int16],  # noqa: ARG002
        *,
        classes: int,
        unit_tokens: NDArray[np.int64],
        seed: int,
    ) -> NDArray[np.int64]:
        return random_units(classes=classes, unit_tokens=unit_tokens, seed=seed)


def frequent_units(
    labels: NDArray[np.int64], units: NDArray[np.int16], *, classes: int, unit_tokens: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Unit of each class by rank: the most frequent label gets the most frequent unit, and so on.

    Both are counted on the training split; ties go to what occurs first (the reference's ``freq`` mapping).

    Args:
        labels: class numbers of one slot, int64 [examples].
        units: units of all examples, without adjacent repeats, laid end to end, int16 [sum of lengths].
        classes: how many there are.
        unit_tokens: token of each unit, int64 [units]; of units that share one, the first alone is taken.
    """
    chosen = by_frequency(labels, classes)
    ranked = _apart(by_frequency(units.astype(np.int64), len(unit_tokens)), unit_tokens)
    mapping = np.empty(classes, dtype=np.int64)
    mapping[chosen] = ranked[:classes]
    return mapping


def random_units(*, classes: int, unit_tokens: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Unit of each class from one seeded permutation, so that no two classes share a unit or a token.

    The released reference draws each class by itself, with replacement and without a seed.
    """
    drawn = np.random.default_rng(seed).permutation(len(unit_tokens)).astype(np.int64)
    return _apart(drawn, unit_tokens)[:classes]


def _apart(units: NDArray[np.int64], unit_tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """The units without those whose token one before them has: units that the LM never saw share ``<unk>``."""
    _, first = np.unique(unit_tokens[units], return_index=True)
    return units[np.sort(first)]


def by_frequency(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The numbers below ``count``, most frequent first, ties by first occurrence, absent ones last."""
    occurrences = np.bincount(values, minlength=count)[:count]
    first = np.full(count, len(values), dtype=np.int64)
    seen, positions = np.unique(values, return_index=True)
    first[seen] = positions
    return np.lexsort((np.arange(count), first, -occurrences)).astype(np.int64)
