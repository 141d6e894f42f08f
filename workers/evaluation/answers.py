"""What a system answered to each example of a split: all that metrics and their comparison need, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from workers.evaluation.error_rates import ErrorRates
from workers.untrusted.tensor_file import parse_tensors


@dataclass(frozen=True)
class Answers:
    """Labels and predictions.

    Attributes:
        labels, predicted: class numbers, int64 [examples, slots].
        sizes: number of classes of each slot.
        positive: number of the positive class, of one slot with two classes; ``None`` where there is none.
        odds: log odds of the positive class, float64 [examples]; ``None`` where there is none.
        speakers: number of the speaker of each example, from 0, int64 [examples]; ``None`` where the bootstrap draws
            utterances.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    sizes: Sequence[int]
    positive: int | None = None
    odds: NDArray[np.float64] | None = None
    speakers: NDArray[np.int64] | None = None

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Where predictions are the labels, bool [examples, slots]."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right

    @cached_property
    def all_right(self) -> NDArray[np.float64]:
        """1 where every slot is right, float64 [examples]."""
        return np.asarray(self.right.all(axis=1), dtype=np.float64)

    @cached_property
    def detection(self) -> ErrorRates | None:
        """Errors of detecting the positive class at every threshold."""
        return None if self.odds is None else ErrorRates(self.odds, self.labels[:, 0] == self.positive)

    @property
    def groups(self) -> NDArray[np.int64]:
        """Number of the group that a bootstrap draws each example with, from 0, int64 [examples]."""
        return np.arange(len(self.labels)) if self.speakers is None else self.speakers

    def to_bytes(self) -> bytes:
        """As a safetensors file; numbers of classes and speakers as int32."""
        tensors = {"labels": self.labels, "predicted": self.predicted, "sizes": np.array(self.sizes)}
        if self.speakers is not None:
            tensors["speakers"] = self.speakers
        if self.positive is not None:
            tensors["positive"] = np.array([self.positive])
        stored: dict[str, NDArray[Any]] = {name: tensor.astype(np.int32) for name, tensor in tensors.items()}
        if self.odds is not None:
            stored["odds"] = self.odds
        return save(stored)

    @classmethod
    def from_bytes(cls, data: bytes) -> Answers:
        """Inverse of ``to_bytes``.

        Raises:
            ValueError, KeyError: they are others' bytes.
        """
        tensors = parse_tensors(data)
        odds = tensors.pop("odds", None)
        whole = {name: tensor.astype(np.int64) for name, tensor in tensors.items()}
        positive = whole.get("positive")
        return cls(
            labels=whole["labels"],
            predicted=whole["predicted"],
            sizes=whole["sizes"].tolist(),
            positive=None if positive is None else int(positive[0]),
            odds=odds,
            speakers=whole.get("speakers"),
        )
