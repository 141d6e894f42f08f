"""Which examples a lane trains on: a few of each class (few-shot), and classes of very different sizes as if of
one size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def class_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Weight of each class's loss: inverse to its rows, 1 in the mean over rows, 0 for a class without any.

    Args:
        labels: class numbers, int64 [rows].
        classes: how many there are.

    Returns:
        float32 [classes], as scikit-learn's ``class_weight="balanced"``.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (np.maximum(counts, 1) * np.count_nonzero(counts))
    return np.where(counts > 0, weights, 0).astype(np.float32)


def combinations(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of each row's combination of labels, from 0, int64 [rows]; with one slot its class among those that occur.

    Args:
        labels: class numbers, int64 [rows, slots].
    """
    numbers: NDArray[np.int64] = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    return numbers


def balanced_rows(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """As many rows as there are, in random order, with equally many of each group, or one more.

    A group that is too small is repeated as a whole, and what is then missing drawn from it without repeats.

    Args:
        groups: number of each row's group, from 0 and each with a row, int64 [rows].
        rng: what decides.

    Returns:
        Row numbers, int64 [rows].
    """
    sizes = np.bincount(groups)
    wanted = np.full(len(sizes), len(groups) // len(sizes))
    wanted[rng.permutation(len(sizes))[: len(groups) % len(sizes)]] += 1
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    drawn = []
    for rows, count in zip(members, wanted.tolist(), strict=True):
        whole, rest = divmod(count, len(rows))
        drawn += [np.tile(rows, whole), rng.permutation(rows)[:rest]]
    return rng.permutation(np.concatenate(drawn))


def few_shot(labels: NDArray[np.int64], shots: int, *, seed: int) -> NDArray[np.int64]:
    """Draw examples without replacement.

    Args:
        labels: class numbers, int64 [examples, slots].
        shots: examples of each class, with several slots of each combination of labels; all where there are less.
        seed: of the draw. A larger number of shots with the same seed holds those of a smaller one.

    Returns:
        Example numbers, ascending, int64 [drawn].
    """
    groups = combinations(labels)
    order = np.random.default_rng([seed, 3]).permutation(len(groups))
    by_group = order[np.argsort(groups[order], kind="stable")]
    sizes = np.bincount(groups)
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(by_group[rank < shots])
