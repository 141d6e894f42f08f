"""What several prompts of one task say together: the mean of their probabilities.

The mean is taken of plain probabilities, and one temperature is fitted for it afterwards (Rahaman and Thiery,
Uncertainty quantification and deep ensembles, NeurIPS 2021: members that are calibrated one by one are too unsure
together).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.metrics import Predictions


def together(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Class scores of an ensemble: the logarithm of the mean probability of each class; a member's own for one member.

    Args:
        scores: class scores of each member, float32 [members, examples, classes].

    Returns:
        float32 [examples, classes]; NaN where a member's scores are not finite.
    """
    single: NDArray[np.float32] = scores[0]
    if len(scores) == 1:
        return single
    with np.errstate(invalid="ignore"):
        shifted = scores.astype(np.float64) - scores.max(axis=-1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        top = logs.max(axis=0)
        mean: NDArray[np.float32] = (top + np.log(np.exp(logs - top).mean(axis=0))).astype(np.float32)
    return mean


def predictions_together(members: Sequence[Predictions]) -> Predictions:
    """The predictions of an ensemble, from those of each member on the same examples."""
    slots = zip(*(member.scores for member in members), strict=True)
    return Predictions([together(np.stack(scores)) for scores in slots], members[0].labels)
