"""From scores of vocabulary tokens to scores of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from infra.errors import TaskSpecError
from task_specs.recipe import Recipe


def class_scores(
    logits: Tensor, *, matrix: Tensor | None = None, tokens: Tensor | None = None, special_rows: int = 0
) -> Tensor:
    """Class scores of one slot.

    Args:
        logits: scores of the vocabulary at the slot's separator, [rows, vocabulary].
        matrix: trained verbalizer, [special_rows + classes, vocabulary].
        tokens: fixed token id of each class instead, int64 [classes].
        special_rows: leading rows of ``matrix`` that stand for no class.

    Returns:
        [rows, classes].
    """
    if matrix is not None:
        return F.linear(logits, matrix[special_rows:])
    if tokens is None:
        raise ValueError("either a matrix or tokens")
    return logits.index_select(1, tokens)


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


def check_unit_count(recipe: Recipe, classes: Sequence[int], unit_count: int, task: str) -> None:
    """A fixed mapping needs a unit for every class, and so does the paper's loss, which feeds the label back.

    Raises:
        TaskSpecError: there are more classes than units.
    """
    if recipe.verbalizer != "linear":
        setting, remedy = f"recipe.verbalizer: '{recipe.verbalizer}'", "linear"
    elif recipe.loss == "paper":
        setting, remedy = "recipe.loss: 'paper'", "separators"
    else:
        return
    if max(classes) > unit_count:
        raise TaskSpecError(
            f"{task}: {setting} gives each class a unit of its own, but a slot has "
            f"{max(classes)} classes and the backbone {unit_count} units; use '{remedy}'"
        )


def by_frequency(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The numbers below ``count``, most frequent first, ties by first occurrence, absent ones last."""
    occurrences = np.bincount(values, minlength=count)[:count]
    first = np.full(count, len(values), dtype=np.int64)
    seen, positions = np.unique(values, return_index=True)
    first[seen] = positions
    return np.lexsort((np.arange(count), first, -occurrences)).astype(np.int64)


def as_tokens(units: NDArray[np.int64], unit_tokens: NDArray[np.int64], device: torch.device) -> Tensor:
    """Token ids of units, int64 [classes]."""
    return torch.from_numpy(unit_tokens[units]).to(device)
