"""What every reading does: from the states of a prompted pass to the inputs of the verbalizer, slot by slot.

Shapes: B rows, T positions of the longest, S slots, L layers, D dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

LAYERS: Final = "reading.layers"


class Reading(ABC):
    """A way to read a pass; one file, and one line in ``kinds``. The LM's scores at the separators are always read."""

    @abstractmethod
    def shapes(self, *, layers: int, dim: int, slots: int) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every tensor that it trains."""

    @abstractmethod
    def initialise(self, tensors: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Set its trained tensors to their initial values, in place, drawn from ``generator`` alone."""

    @abstractmethod
    def features(self, dim: int) -> int:
        """Inputs of the verbalizer besides the scores at the separator."""


class UtteranceReading(Reading):
    """A reading that adds D features of the states of the whole utterance: what the attention of each layer sees of the
    start token and the units, summed with trained weights over the layers, the tensor ``LAYERS`` [L], and with the
    reading's own weights over the positions."""

    def features(self, dim: int) -> int:
        return dim

    @abstractmethod
    def position_weights(self, tensors: Mapping[str, Tensor], states: Tensor, outside: Tensor) -> Tensor:
        """How much each position counts for each slot, or for all of them, [B, T, S or 1]; a row's weights sum to 1.

        Args:
            tensors: trained ones, by name.
            states: mixed over the layers, [B, T, D].
            outside: whether a place is behind the end of its row, bool [B, T].
        """
