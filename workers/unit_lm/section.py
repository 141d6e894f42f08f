"""What a file that describes a backbone to pretrain says of its unit LM."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from task_specs.validation import fault
from workers.speech.sequences import UnitSequences
from workers.speech.unit_prosody import ProsodySettings
from workers.unit_lm.unit_lm import UnitLMConfig

MOST_PARAMETERS: Final = 4_000_000_000
"""Most parameters of a unit LM's layers; with gradients and Adam's moments they take 64 GB on every worker."""


class UnitLMSection(BaseModel, ABC):
    """Sizes of the unit LM; those of the published one are 12 x 1024 x 16 x 4096. A subclass narrows ``kind``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: str
    layers: int = Field(6, ge=1, le=128)
    dim: int = Field(256, ge=8, le=8192)
    heads: int = Field(4, ge=1, le=128)
    ffn_dim: int = Field(1024, ge=8, le=65536)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % (2 * self.heads):
            raise fault(f"has dim {self.dim} for {self.heads} heads", "make dim a multiple of twice the heads")
        return self

    @model_validator(mode="after")
    def _fits_in_memory(self) -> Self:
        parameters = self.layers * self.dim * (4 * self.dim + 2 * self.ffn_dim)
        if parameters > MOST_PARAMETERS:
            message = f"has {parameters:,} parameters, but the limit is {MOST_PARAMETERS:,}"
            raise fault(message, "lower layers, dim or ffn_dim")
        return self

    @property
    def prosody_settings(self) -> ProsodySettings | None:
        """How the F0 that the LM reads is made; ``None`` for an LM of units alone."""
        return None

    def sizes(self) -> dict[str, Any]:
        """Return the sizes that a configuration also has."""
        return self.model_dump(include={"layers", "dim", "heads", "ffn_dim"})

    @abstractmethod
    def lm_config(self, units: int, train: UnitSequences) -> tuple[UnitLMConfig, tuple[int, ...]]:
        """Return the LM's configuration, and the token of each unit.

        Args:
            units: how many there are.
            train: training rows, from which settings of a kind may be fitted.

        Raises:
            BackboneError: the training rows have too few voiced units for the F0 bins.
        """
