"""A tokenizer known by name only: the units were computed elsewhere and come with the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.errors import BackboneError
from workers.untrusted.fault_text import faults


class ExternalConfig(BaseModel):
    """What is known of a tokenizer that is not at hand."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["external"] = "external"
    name: str = Field(min_length=1, max_length=200)
    """Which tokenizer it is, such as ``hubert-base-layer6-km100``."""
    units: int = Field(ge=1, le=32768)
    sample_rate: int = Field(16_000, ge=1, le=10_000_000)
    frame_seconds: float = Field(0.02, gt=0, le=3_600)


class ExternalTokenizer:
    """Holds the place of a tokenizer that only its users elsewhere can run.

    Args:
        config: its name and sizes.
    """

    kind: ClassVar[str] = "external"
    settings: ClassVar[type[BaseModel] | None] = ExternalConfig
    gains_from_gpu: ClassVar[bool] = False

    def __init__(self, config: ExternalConfig) -> None:
        self._config = config

    @property
    def units(self) -> int:
        return self._config.units

    @property
    def sample_rate(self) -> int:
        return self._config.sample_rate

    @property
    def frame_seconds(self) -> float:
        return self._config.frame_seconds

    def config(self) -> dict[str, Any]:
        return self._config.model_dump()

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        try:
            settings = ExternalConfig.model_validate(dict(config))
        except ValidationError as error:
            wrong = faults(error, whole="external")
            raise BackboneError(f"tokenizer: {wrong}; correct the backbone's tokenizer settings") from error
        if tensors:
            raise BackboneError(
                f"tokenizer: an external one has no tensors, but there are {', '.join(sorted(tensors))}"
            )
        return cls(settings)

    @classmethod
    def tensor_shapes(cls, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:  # noqa: ARG003
        return {}

    def to(self, device: str) -> Self:  # noqa: ARG002
        return self

    def encode(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:  # noqa: ARG002
        raise BackboneError(
            f"tokenizer {self._config.name!r} is external, so audio cannot be tokenized here; "
            "give units instead of audio in the manifest, or use a backbone with a tokenizer of its own"
        )
