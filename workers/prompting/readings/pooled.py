"""Readings of the whole utterance: the mean of its states, or their sum weighted by a trained query per slot.

A causal state has heard no more than what came before it, and one position's scores are a narrow pipe; the sum over all
positions is neither. It is taken of what the attention of each layer sees, so it costs no further pass of the last
layer. Trained weights over the layers are those of SUPERB's probes (Yang et al., 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from workers.prompting.readings.reading import LAYERS, UtteranceReading

QUERIES: Final = "reading.queries"


class Mean(UtteranceReading):
    """All positions count the same."""

    def shapes(self, *, layers: int, dim: int, slots: int) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002
        return {LAYERS: (layers,)}

    def initialise(self, tensors: Mapping[str, Tensor], generator: torch.Generator) -> None:  # noqa: ARG002
        """All layers, and with queries all positions, count the same."""
        for tensor in tensors.values():
            tensor.zero_()

    def position_weights(self, tensors: Mapping[str, Tensor], states: Tensor, outside: Tensor) -> Tensor:  # noqa: ARG002
        inside = (~outside).to(states.dtype)
        return (inside / inside.sum(dim=1, keepdim=True))[..., None]


class Pooled(Mean):
    """A trained query per slot says which positions count: softmax of its products with the states / sqrt(D)."""

    def shapes(self, *, layers: int, dim: int, slots: int) -> Mapping[str, tuple[int, ...]]:
        return {**super().shapes(layers=layers, dim=dim, slots=slots), QUERIES: (slots, dim)}

    def position_weights(self, tensors: Mapping[str, Tensor], states: Tensor, outside: Tensor) -> Tensor:
        products = states @ tensors[QUERIES].T / math.sqrt(states.shape[-1])
        return products.masked_fill(outside[..., None], -math.inf).softmax(dim=1)
