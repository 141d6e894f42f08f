"""What was heard, and when: the score of a class as a sum over the units of a recording.

The terms are those of ``workers.evaluation.heard``. Over the windows of a recording, and over the members of an
ensemble, they are averaged; of an ensemble the sum is the mean of its members' scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.heard import toward


@dataclass(frozen=True)
class Heard:
    """A unit of a recording, and how much it speaks for the first label of an answer.

    Attributes:
        unit: its number.
        weight: what it adds to the label's score, less what it adds to all labels on average, in nats.
        start, end: of the unit in the recording, in seconds; ``None`` where only units are known.
    """

    unit: int
    weight: float
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Window:
    """The units of a window, and where each is in the recording.

    Attributes:
        units: int16 [T].
        times: start and end in seconds, float64 [T, 2]; ``None`` where only units are known.
    """

    units: NDArray[np.int16]
    times: NDArray[np.float64] | None = None


def what_was_heard(
    windows: Sequence[Window], parts: Sequence[NDArray[np.float32]], label: int, *, temperature: float
) -> tuple[Heard, ...]:
    """The units of an utterance, window after window.

    Args:
        windows: of the utterance.
        parts: of each, what each position adds to the class scores, float32 [1 + T, classes], the start token first;
            nothing is heard where a prompt reads the separators alone, [0, classes].
        label: number of the class in question.
        temperature: by which scores are divided.
    """
    found = []
    for window, part in zip(windows, parts, strict=True):
        weights = toward(part[1:], label, temperature * len(windows))
        for place, weight in enumerate(weights.tolist()):
            start, end = (None, None) if window.times is None else window.times[place].tolist()
            found.append(Heard(int(window.units[place]), weight, start, end))
    return tuple(found)
