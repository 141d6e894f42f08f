"""The tokenizer of the published unit LMs: HuBERT features and nearest centroid.

https://github.com/facebookresearch/fairseq/tree/main/examples/textless_nlp/gslm/speech2unit
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infra.errors import BackboneError
from workers.speech.hubert_config import HubertConfig, hubert_config, misfits
from workers.speech.hubert_encoder import HubertEncoder
from workers.speech.hubert_units import batches_by_length, units_of_batch


class HubertTokenizer:
    """Waveforms are taken as they are, without normalisation.

    Args:
        config: sizes.
        tensors: ``config.tensor_shapes()`` names them: the encoder's, and ``centroids``; all float32.
        device: where to encode, ``cpu`` or ``cuda``.
        batched: whether clips are encoded together; ``None`` means on a GPU only, since a CPU gains nothing.

    Raises:
        BackboneError: a tensor is missing, unknown, misshapen or not finite.
    """

    kind: ClassVar[str] = "hubert"
    gains_from_gpu: ClassVar[bool] = True

    def __init__(
        self,
        config: HubertConfig,
        tensors: Mapping[str, NDArray[np.float32]],
        *,
        device: str = "cpu",
        batched: bool | None = None,
    ) -> None:
        if wrong := misfits(tensors, config.tensor_shapes()):
            raise BackboneError(f"tokenizer: hubert: {wrong}; import the backbone again")
        self._config = config
        self._tensors = dict(tensors)
        self._device = device
        self._batched = device != "cpu" if batched is None else batched

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
        return self._config.model_dump(mode="json")

    def tensors(self) -> dict[str, NDArray[Any]]:
        return dict(self._tensors)

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        return cls(hubert_config(config), tensors)

    @classmethod
    def tensor_shapes(cls, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        return hubert_config(config).tensor_shapes()

    def to(self, device: str) -> Self:
        return type(self)(self._config, self._tensors, device=device)

    def encode(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
        """Tokenizes whole clips, those longer than ``chunk_samples`` piece by piece.

        Raises:
            BackboneError: the tokenizer was told to encode on a GPU, and torch sees none.
        """
        pieces = [self._pieces(wave) for wave in waves]
        encoded = iter(self._encode_pieces([piece for clip in pieces for piece in clip]))
        empty = np.empty(0, np.int64)
        return [np.concatenate([empty, *(next(encoded) for _ in clip)]) for clip in pieces]

    def _pieces(self, wave: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        size = self._config.chunk_samples
        pieces = [wave[start : start + size] for start in range(0, len(wave), size)]
        # A last piece of less than a frame has no units. The reference gives it to its convolutions, which fail.
        return [piece for piece in pieces if self._config.frames(len(piece))]

    def _encode_pieces(self, pieces: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
        if not pieces:
            return []
        encoder, centroids = self._encoder
        if self._batched:
            # A batch takes no more memory than the longest piece there may be.
            batches = batches_by_length([len(piece) for piece in pieces], limit=self._config.chunk_samples)
        else:
            # On a CPU, products of 50 rows, a second of audio, run at 85 % of the speed of long ones: padding costs
            # more. Neighbours are of one length where possible, since oneDNN compiles kernels for each.
            batches = [[index] for index in sorted(range(len(pieces)), key=lambda index: -len(pieces[index]))]
        found: dict[int, NDArray[np.int64]] = {}
        for batch in batches:
            found |= zip(batch, units_of_batch(encoder, centroids, [pieces[i] for i in batch]), strict=True)
        return [found[index] for index in range(len(pieces))]

    @cached_property
    def _encoder(self) -> tuple[HubertEncoder, Tensor]:
        """Built when first used: who only reads or describes a backbone does not wait for it."""
        if self._device.startswith("cuda") and not torch.cuda.is_available():
            raise BackboneError(
                f"tokenizer: hubert is to run on {self._device}, but torch {torch.__version__} sees no GPU there; "
                "install a CUDA build of torch, or give its workers no GPU"
            )
        encoder = HubertEncoder(self._config, self._tensors, device=self._device)
        return encoder, torch.tensor(self._tensors["centroids"], dtype=torch.float64, device=self._device)
