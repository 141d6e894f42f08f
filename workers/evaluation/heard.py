"""How much each position of an utterance speaks for a class: the arithmetic that explanations share.

The verbalizer is linear, and what a reading gives it is a sum over positions. So with weights ``w`` of a class for the
features of the reading, a position with weight ``a`` and mixed state ``x`` adds ``w (a x)`` to its score, and the rest
is what the scores at the separator add. This is exact, but a state has heard all that came before it: the sum says
where the evidence was read, not that nothing earlier mattered.

Probabilities do not change when the scores of all classes do alike. So what counts is a class's part less the mean of
all classes' parts, divided by the temperature, in nats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def toward(parts: NDArray[np.float32], label: int, temperature: float) -> NDArray[np.float32]:
    """How much each position speaks for a class, float32 [T].

    Args:
        parts: what each position adds to the class scores, float32 [T, classes].
        label: number of the class.
        temperature: by which scores are divided.
    """
    weights: NDArray[Any] = (parts[:, label] - parts.mean(axis=1)) / temperature
    return weights.astype(np.float32)
