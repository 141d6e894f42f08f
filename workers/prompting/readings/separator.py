"""The paper's reading: the LM's scores at the separators, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from workers.prompting.readings.reading import Reading


class Separator(Reading):
    """Trains nothing."""

    def shapes(self, *, layers: int, dim: int, slots: int) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002
        return {}

    def initialise(self, tensors: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """There is nothing to set."""

    def features(self, dim: int) -> int:  # noqa: ARG002
        return 0
