"""Whether prompts of several seeds use the same units."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from workers.evaluation.unit_use import UnitUse

TOP = 10
"""Units of a class that count as those it uses most."""


class UnitAgreement(BaseModel):
    """Agreement of the seeds of one slot, mean over pairs of seeds and over classes.

    Attributes:
        spearman: rank correlation of the units' importance; 0 by chance.
        overlap: share of the ``top`` most important units that two seeds have in common.
        overlap_by_chance: what that would be for units drawn at random.
        top: how many those are.
        seeds: that were compared.
    """

    model_config = ConfigDict(extra="forbid")

    spearman: float
    overlap: float
    overlap_by_chance: float
    top: int
    seeds: int


def unit_agreement(uses: Sequence[UnitUse]) -> UnitAgreement | None:
    """Compare one slot over seeds; ``None`` for a single seed, or where no class tells units apart."""
    if len(uses) < 2:
        return None
    # Its import takes more than a second.
    from scipy.stats import rankdata

    outputs = uses[0].importance.shape[1]
    top = min(TOP, outputs)
    ranks = [_standardised(rankdata(use.importance, axis=1)) for use in uses]
    correlations = np.concatenate([(one * two).mean(axis=1) for one, two in combinations(ranks, 2)])
    if np.isnan(correlations).all():
        return None
    return UnitAgreement(
        spearman=float(np.nanmean(correlations)),
        overlap=float(np.mean([_overlap(one.top(top), two.top(top)) for one, two in combinations(uses, 2)])),
        overlap_by_chance=top / outputs,
        top=top,
        seeds=len(uses),
    )


def _standardised(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows with mean 0 and variance 1; NaN where all ranks are equal."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    result: NDArray[np.float64] = np.where(deviation > 0, centred / np.where(deviation > 0, deviation, 1), np.nan)
    return result


def _overlap(one: NDArray[np.int64], two: NDArray[np.int64]) -> float:
    """Share of the numbers in a row of one that are in the same row of two, mean over rows."""
    return float((one[:, :, None] == two[:, None, :]).any(axis=2).mean())
