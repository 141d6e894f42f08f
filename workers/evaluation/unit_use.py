"""What a linear verbalizer makes of each unit: exact Shapley values of its class scores.

Players are the LM's scores (logits) at a separator, z_u for output u; on one example a coalition S is worth the score
of class c when the outputs in S have the example's logits and all others those of a background, their mean m over
training examples. The verbalizer is linear and has no bias, so the worth is

    v(S) = sum over u in S of W[c,u] z_u + sum over u not in S of W[c,u] m_u,

and u adds W[c,u] (z_u - m_u) to every coalition alike. A Shapley value is a mean of what a player adds to coalitions:

    phi[c,u] = W[c,u] (z_u - m_u),

which is exact, needs no sampling, and sums over u to the class's score less its score on the background. Because a
mean goes through a linear map, it is also the value against single training examples, mean over them all (the
interventional values of Lundberg and Lee, 2017, arXiv 1705.07874). The logits of an example are taken as they are: how
the prompt makes the LM give them is not explained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class UnitUse:
    """Shapley values of one slot, summed up over examples.

    Attributes:
        importance: mean absolute value over all examples, float64 [classes, outputs].
        own: mean value over the examples of the class itself: above 0 speaks for it; 0 for a class without examples,
            float64 [classes, outputs].
    """

    importance: Floats
    own: Floats

    def top(self, count: int) -> NDArray[np.int64]:
        """The most important outputs of each class, the first one first, int64 [classes, count or all]."""
        order: NDArray[np.int64] = np.argsort(-self.importance, axis=1, kind="stable")
        return order[:, :count]


def unit_use(logits: Floats, labels: NDArray[np.int64], matrix: Floats, background: Floats) -> UnitUse:
    """Sum up Shapley values over examples: of an output for a class it is its weight times how far its logit is from
    the background, and the weight is the same on each example.

    Args:
        logits: float64 [examples, outputs].
        matrix: verbalizer, float64 [classes, outputs].
        background: mean logits of training examples, float64 [outputs].
        labels: class of each example, int64 [examples].
    """
    away = logits - background
    own = np.zeros_like(matrix)
    for number in np.unique(labels):
        own[number] = away[labels == number].mean(axis=0)
    return UnitUse(np.abs(matrix) * np.abs(away).mean(axis=0), matrix * own)


def mean_use(uses: list[UnitUse]) -> UnitUse:
    """Of several seeds."""
    return UnitUse(np.mean([use.importance for use in uses], axis=0), np.mean([use.own for use in uses], axis=0))
