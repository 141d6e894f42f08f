"""The tokenizer of the published unit LMs: HuBERT features and nearest centroid.

https://github.com/facebookresearch/fairseq/tree/main/examples/textless_nlp/gslm/speech2unit
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from infra.errors import BackboneError
from workers.speech import kmeans
from workers.speech.hubert.config import HubertConfig, hubert_config, misfits
from workers.speech.hubert.encoder import HubertEncoder

Wave = NDArray[np.float32]
FrameUnits = NDArray[np.int64]
_Result = TypeVar("_Result")

# How far a frame's features may move between batch and alone, as a share of their length. Those of HuBERT base move by
# 4e-7 on a CPU.
ROUNDING: Final = 1e-4
# The share of it that witnesses may use up.
_WITNESSED: Final = 1 / 8


def units_alone(encoder: HubertEncoder, centroids: Tensor, wave: Wave) -> FrameUnits:
    """Units of one piece.

    Args:
        encoder: waveforms to features.
        centroids: float64 [units, dim], on the encoder's device.
        wave: float32 [samples], with a frame at least and at most ``chunk_samples``.

    Returns:
        int64 [frames].
    """
    return _nearest(encoder.features([wave])[0], centroids)


def units_of_batch(encoder: HubertEncoder, centroids: Tensor, waves: Sequence[Wave]) -> list[FrameUnits]:
    """Units of pieces that are encoded together, each what ``units_alone`` gives.

    Pieces with a frame within ``ROUNDING`` of a tie are encoded again, alone. They and the piece with the most padding,
    which always is, bear witness that rounding is as small as assumed; if it is not, all are encoded alone.
    """
    if len(waves) == 1:
        return [units_alone(encoder, centroids, waves[0])]
    batch = encoder.features(waves)
    witnesses = {index for index, features in enumerate(batch) if bool(near_tie(features, centroids).any())}
    witnesses.add(min(range(len(waves)), key=lambda index: len(waves[index])))
    alone = {index: encoder.features([waves[index]])[0] for index in sorted(witnesses)}
    if all(moved(batch[index], features) < _WITNESSED * ROUNDING for index, features in alone.items()):
        return [_nearest(alone.get(index, features), centroids) for index, features in enumerate(batch)]
    return [units_alone(encoder, centroids, wave) for wave in waves]


def near_tie(features: Tensor, centroids: Tensor) -> Tensor:
    """Which frames might have another unit if their features moved by ``ROUNDING`` of their length.

    A move d changes |x - a|^2 - |x - b|^2 by 2 d.(b - a), at most 2 |d| |b - a|; any b may be the second.

    Args:
        features: float32 [frames, dim].
        centroids: float64 [units, dim].

    Returns:
        bool [frames].
    """
    x = features.double()
    scores = torch.addmm((centroids * centroids).sum(1), x, centroids.T, alpha=-2.0)  # |x - c|^2 - |x|^2
    best = scores.argmin(1)
    gaps = scores - scores.gather(1, best[:, None])
    reach = 2 * ROUNDING * x.norm(dim=1, keepdim=True) * torch.cdist(centroids, centroids)[best]
    tied: Tensor = (gaps <= reach).sum(1) > 1  # The best itself is always within reach.
    return tied


def moved(features: Tensor, others: Tensor) -> float:
    """The largest distance between two frames of the same place, as a share of the frame's length."""
    return float(((features - others).norm(dim=1) / others.norm(dim=1).clamp_min(1e-30)).max())


def batches_by_length(lengths: Sequence[int], *, limit: int) -> list[list[int]]:
    """Groups pieces of similar lengths, the longest first.

    Args:
        lengths: samples of each piece.
        limit: samples of a batch at most, padding included; no piece is longer.

    Returns:
        Indices into ``lengths``, batch by batch.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if not batches or longest * (len(batches[-1]) + 1) > limit:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches


def _nearest(features: Tensor, centroids: Tensor) -> FrameUnits:
    # In float64 the features alone decide: rounding of distances is far below any gap between two of them.
    units: FrameUnits = kmeans.assign(features.double(), centroids).cpu().numpy()
    return units


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
    settings: ClassVar[type[BaseModel] | None] = None
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
        encoded = self._by_batches(pieces, lambda batch: units_of_batch(*self._encoder, batch))
        return [np.concatenate([np.empty(0, np.int64), *clip]) for clip in encoded]

    def mean_features(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Outputs of each transformer layer up to the one whose features are clustered, the first one first.

        Raises:
            BackboneError: as for ``encode``.
        """
        pieces = [self._pieces(wave) for wave in waves]
        means = []
        for clip in self._by_batches(pieces, lambda batch: self._encoder[0].layer_sums(batch)):
            total = torch.stack([sums for sums, _ in clip]).sum(0)
            means.append((total / sum(frames for _, frames in clip)).float().cpu().numpy())
        return means

    def _pieces(self, wave: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        size = self._config.chunk_samples
        pieces = [wave[start : start + size] for start in range(0, len(wave), size)]
        # A last piece of less than a frame has no units. The reference gives it to its convolutions, which fail.
        return [piece for piece in pieces if self._config.frames(len(piece))]

    def _by_batches(
        self, clips: Sequence[Sequence[Wave]], compute: Callable[[Sequence[Wave]], list[_Result]]
    ) -> list[list[_Result]]:
        """What is computed of batches of pieces, for each piece of each clip."""
        pieces = [piece for clip in clips for piece in clip]
        if self._batched:
            # A batch takes no more memory than the longest piece there may be.
            batches = batches_by_length([len(piece) for piece in pieces], limit=self._config.chunk_samples)
        else:
            # On a CPU, products of 50 rows, a second of audio, run at 85 % of the speed of long ones: padding costs
            # more. Neighbours are of one length where possible, since oneDNN compiles kernels for each.
            batches = [[index] for index in sorted(range(len(pieces)), key=lambda index: -len(pieces[index]))]
        found: dict[int, _Result] = {}
        for batch in batches:
            found |= zip(batch, compute([pieces[i] for i in batch]), strict=True)
        results = iter(found[index] for index in range(len(pieces)))
        return [[next(results) for _ in clip] for clip in clips]

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
