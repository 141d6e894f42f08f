"""The tokenizer without downloads: MFCC features and nearest centroid, as in HuBERT's first iteration.

https://arxiv.org/abs/2106.07447, section IV-B
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray

from infra.errors import BackboneError
from infra.printable import in_ascii
from workers.speech import kmeans
from workers.speech.mfcc_features import MfccConfig, mfcc_config, mfcc_features

# Plenty for a few hundred clusters in 39 dimensions, and clustered in seconds.
FRAMES_TO_FIT: Final = 60_000


class MfccTokenizer:
    """Args:
        config: settings of the features.
        centroids: float32 [units, config.dim], in the space of the scaled features.
        scale: factor of each feature before distances are taken, float32 [config.dim].

    Raises:
        BackboneError: a tensor is not of that shape and type, or not finite.
    """

    kind: ClassVar[str] = "mfcc"
    gains_from_gpu: ClassVar[bool] = False

    def __init__(self, config: MfccConfig, *, centroids: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        _check("centroids", centroids, (config.units, config.dim))
        _check("scale", scale, (config.dim,))
        self._config = config
        self._centroids = centroids
        self._scale = scale
        # In float64 a frame's unit is the same on every processor: rounding differs by 1e-13, and no two
        # distances are that close.
        self._centroids_f64 = torch.tensor(centroids, dtype=torch.float64)
        self._scale_f64 = torch.tensor(scale, dtype=torch.float64)

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
        return {"centroids": self._centroids, "scale": self._scale}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        if set(tensors) != {"centroids", "scale"}:
            names = ", ".join(in_ascii(name, 40) for name in sorted(tensors)[:5])
            raise BackboneError(
                f"tokenizer: tensors are {names or 'missing'}, "
                "and mfcc takes centroids and scale; make the backbone again"
            )
        return cls(mfcc_config(config), centroids=tensors["centroids"], scale=tensors["scale"])

    @classmethod
    def tensor_shapes(cls, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        settings = mfcc_config(config)
        return {"centroids": (settings.units, settings.dim), "scale": (settings.dim,)}

    def to(self, device: str) -> Self:  # noqa: ARG002
        return self

    def encode(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
        # Clip by clip: a matrix product's rounding depends on its shape, so a joint one would let neighbours
        # decide near ties. Nothing is lost, for a clip of one second takes a millisecond.
        return [self._encode_one(wave) for wave in waves]

    def _encode_one(self, wave: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.inference_mode():
            features = mfcc_features(wave, self._config) * self._scale_f64
            units: NDArray[np.int64] = kmeans.assign(features, self._centroids_f64).numpy()
        return units


def fit_mfcc_tokenizer(
    waves: Iterable[NDArray[np.float32]],
    *,
    units: int,
    seed: int,
    frames: int = FRAMES_TO_FIT,
    **settings: Any,
) -> MfccTokenizer:
    """Fits the tokenizer on waveforms at hand.

    For a large collection, sample features on the cluster and give them to ``fit_from_features``.

    Args:
        waves: clips, each float32 [samples] at ``sample_rate`` of the settings.
        units: clusters.
        seed: of the choice of frames and of k-means.
        frames: frames to cluster at most, chosen evenly at random.
        settings: other fields of ``MfccConfig``.

    Raises:
        BackboneError: a setting is wrong, or there are fewer frames than units.
        MissingExtra: scikit-learn is not installed.
    """
    config = mfcc_config({**settings, "units": units})
    features = [mfcc_features(wave, config).float().numpy() for wave in waves]
    rows = np.concatenate([np.empty((0, config.dim), np.float32), *features])
    return fit_from_features(choose_frames(rows, frames, seed=seed), config, seed=seed)


def fit_from_features(features: NDArray[np.float32], config: MfccConfig, *, seed: int) -> MfccTokenizer:
    """Fits the tokenizer on features of ``mfcc_features``.

    Args:
        features: float32 [frames, config.dim].
        config: the settings they were computed with.
        seed: of k-means.

    Raises:
        BackboneError: there are fewer frames than units.
        MissingExtra: scikit-learn is not installed.
    """
    scale = _scale(features)
    centroids = kmeans.fit(features * scale, clusters=config.units, seed=seed)
    return MfccTokenizer(config, centroids=centroids, scale=scale)


def choose_frames(features: NDArray[np.float32], frames: int, *, seed: int) -> NDArray[np.float32]:
    """At most ``frames`` rows, chosen at random, in their order."""
    if len(features) <= frames:
        return features
    chosen = np.random.default_rng(seed).choice(len(features), frames, replace=False)
    return features[np.sort(chosen)]


def _scale(features: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(features) == 0:
        raise BackboneError("no frames of speech to fit the mfcc tokenizer on; give the backbone more audio")
    # Unit variance: in raw features the deltas are too small to count, and they tell words apart.
    spread = features.std(axis=0, dtype=np.float64)
    scale: NDArray[np.float32] = (1.0 / np.maximum(spread, 1e-6)).astype(np.float32)
    return scale


def _check(name: str, tensor: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    if tensor.dtype != np.float32 or tensor.shape != shape or not np.isfinite(tensor).all():
        raise BackboneError(
            f"tokenizer: {name} is {tensor.dtype} {list(tensor.shape)}, and must be finite float32 "
            f"{list(shape)}; make the backbone again"
        )
