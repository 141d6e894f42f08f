"""What is said of one slot of an utterance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.bundle.manifest import Slot
from workers.evaluation.calibration import softmax
from workers.inference.explaining import Heard


@dataclass(frozen=True)
class Answer:
    """The labels of one slot, most probable first, with calibrated probabilities that sum to 1 over all labels.

    Attributes:
        abstained: whether the first label is less probable than the classifier was asked to be sure.
        heard: what each unit adds to the score of the first label, if the classifier was asked to explain.
    """

    slot: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    abstained: bool = False
    heard: tuple[Heard, ...] = ()

    @property
    def label(self) -> str | None:
        """The answer; ``None`` for one that abstained."""
        return None if self.abstained else self.labels[0]

    @classmethod
    def of(cls, slot: Slot, scores: NDArray[np.float32], *, temperature: float, abstain_below: float) -> Answer:
        """The answer that class scores give, float32 [classes]."""
        [shares] = softmax(scores[None], temperature)
        order = np.argsort(-shares, kind="stable")
        return cls(
            slot.name,
            tuple(slot.labels[index] for index in order),
            tuple(float(shares[index]) for index in order),
            abstained=bool(shares[order[0]] < abstain_below),
        )
