"""Pieces of audio to units, alone or in padded batches, with the same result.

A batch rounds otherwise than a piece alone does: products of other shapes add in another order. A frame that lies
almost as near to a second centroid could fall to the other one, so a batch decides only what rounding cannot change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.speech import kmeans
from workers.speech.hubert_encoder import HubertEncoder

Wave = NDArray[np.float32]
FrameUnits = NDArray[np.int64]

# How far a frame's features may move between batch and alone, as a share of their length. Float32 moves those of HuBERT
# base by 2e-6 at most.
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
