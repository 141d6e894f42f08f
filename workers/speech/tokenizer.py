"""What every tokenizer offers, and the kinds that there are.

A package of a user's own adds a kind by an entry point, whose name is the kind; every process in which the package is
installed knows it, Ray workers too::

    [project.entry-points."speechprompt.tokenizers"]
    mine = "my_package.tokenizer:MyTokenizer"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from infra.errors import BackboneError
from infra.registry import Registry
from workers.speech.external import ExternalTokenizer
from workers.speech.hubert.tokenizer import HubertTokenizer
from workers.speech.mfcc import MfccTokenizer
from workers.untrusted.pickles import shown


class Tokenizer(Protocol):
    """Audio to units, frozen; ``OffersFeatures`` is optional.

    Attributes:
        kind: its key in ``TOKENIZERS``.
        settings: what ``tokenizer`` in a file to pretrain takes, a model with the literal ``kind``, from which
            ``cls(settings)`` makes a tokenizer (a ``mfcc`` is fitted); ``None`` where it takes files to make one.
        gains_from_gpu: whether it encodes faster on a GPU.
        units: how many different units there are.
        sample_rate: samples per second of the waveforms it takes.
        frame_seconds: time between two frames; also the time of one unit of duration.
    """

    kind: ClassVar[str]
    settings: ClassVar[type[BaseModel] | None]
    gains_from_gpu: ClassVar[bool]

    @property
    def units(self) -> int: ...

    @property
    def sample_rate(self) -> int: ...

    @property
    def frame_seconds(self) -> float: ...

    def config(self) -> dict[str, Any]:
        """Everything but tensors, as JSON values, with ``kind`` and ``sample_rate``; what ``from_parts`` takes back."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Everything that was fitted or trained."""
        ...

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        """The tokenizer that ``config()`` and ``tensors()`` describe.

        Raises:
            BackboneError: a setting or tensor is missing, unknown or out of range.
        """
        ...

    @classmethod
    def tensor_shapes(cls, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor by name, all float32, known before there is one.

        Raises:
            BackboneError: a setting is missing, unknown or out of range.
        """
        ...

    def to(self, device: str) -> Self:
        """The same tokenizer, encoding on a device as torch names it, if it has anything to gain there."""
        ...

    def encode(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
        """Tokenizes whole clips.

        Args:
            waves: clips of any lengths, each float32 [samples] at ``sample_rate``.

        Returns:
            For each clip one unit per frame, int64 [frames], empty where the clip is shorter than one frame.
            A clip's units do not depend on the clips beside it.
        """
        ...


@runtime_checkable
class OffersFeatures(Protocol):
    """A tokenizer that also gives the continuous features that it makes its units of."""

    def mean_features(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Mean over time of the features of whole clips.

        Args:
            waves: as for ``encode``, each with a frame at least.

        Returns:
            For each clip float32 [layers, dim], from the layer nearest to the audio on.
        """
        ...


TOKENIZERS: Final = Registry[type[Tokenizer]]("tokenizer", "speechprompt.tokenizers")
TOKENIZERS.register("mfcc", MfccTokenizer)
TOKENIZERS.register("hubert", HubertTokenizer)
TOKENIZERS.register("external", ExternalTokenizer)


def build_tokenizer(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Tokenizer:
    """The tokenizer of a backbone.

    Args:
        config: settings with ``kind``.
        tensors: what the kind needs.

    Raises:
        BackboneError: the kind is unknown, or its settings or tensors are wrong.
    """
    return _of_kind(config).from_parts(config, tensors)


def tokenizer_of(settings: BaseModel) -> Tokenizer:
    """The tokenizer that settings alone describe, without anything fitted.

    Raises:
        BackboneError: no registered kind has such settings.
    """
    kind: Any = next((one for one in TOKENIZERS.values() if one.settings is type(settings)), None)
    if kind is None:
        raise BackboneError(f"no tokenizer is made from a {type(settings).__name__}; register its kind")
    made: Tokenizer = kind(settings)
    return made


def tokenizer_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that go with settings, by name.

    Raises:
        BackboneError: the kind is unknown, or its settings are wrong.
    """
    return _of_kind(config).tensor_shapes(config)


def _of_kind(config: Mapping[str, Any]) -> type[Tokenizer]:
    kind = config.get("kind")
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise BackboneError(f"tokenizer.kind is {shown(kind)}; choose one of {', '.join(sorted(TOKENIZERS))}")
    return TOKENIZERS[kind]
