"""The tokenizer without downloads: MFCC with deltas and double deltas, and nearest centroid, as in HuBERT's first
iteration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra.errors import BackboneError
from infra.printable import in_ascii
from workers.speech import kmeans
from workers.speech.torchaudio_import import compute_deltas, kaldi
from workers.untrusted.fault_text import faults

LOWEST_HERTZ: Final = 20.0
# Windows whose spectra are in memory at once; results are the same for any value.
_BLOCK_WINDOWS: Final = 6000


class MfccConfig(BaseModel):
    """Settings of the features. Lengths in seconds, frequencies in Hz."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["mfcc"] = "mfcc"
    units: int = Field(100, ge=2, le=32768)
    """Clusters."""
    sample_rate: int = Field(16_000, ge=4_000, le=192_000)
    """What every recording is resampled to."""
    window_seconds: float = Field(0.025, ge=0.002, le=1)
    hop_seconds: float = Field(0.01, ge=0.001, le=1)
    """Time from window to window."""
    keep_every: int = Field(2, ge=1, le=100)
    """A frame for every so many windows, the deltas being taken over all of them; 2 gives HuBERT's 20 ms."""
    coefficients: int = Field(13, ge=2, le=80)
    """Cepstra, the zeroth included; deltas and double deltas triple them."""
    mel_bins: int = Field(23, ge=4, le=256)
    highest_hertz: float = Field(0.0, ge=0)
    """Upper edge of the mel filters; 0 means half the sample rate. 4000 makes units deaf to whether a
    recording was once at 8 kHz."""
    delta_windows: int = Field(9, ge=3, le=101)
    """Windows over which a delta is taken."""
    normalise: Literal["none", "loudness", "mean"] = "loudness"
    """What is evened out over each utterance: ``loudness`` the mean of the zeroth coefficient, ``mean`` that
    of every coefficient, which takes away the microphone and much of the speaker."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.coefficients > self.mel_bins:
            raise ValueError(f"coefficients ({self.coefficients}) exceed mel_bins ({self.mel_bins})")
        if self.highest_hertz and not LOWEST_HERTZ < self.highest_hertz <= self.sample_rate / 2:
            raise ValueError(f"highest_hertz must be above {LOWEST_HERTZ:g} and at most half of sample_rate")
        return self

    @property
    def dim(self) -> int:
        """Numbers per frame: the coefficients, their deltas and double deltas."""
        return 3 * self.coefficients

    @property
    def frame_seconds(self) -> float:
        """Time from frame to frame."""
        return self.hop_seconds * self.keep_every


def mfcc_config(settings: Mapping[str, Any]) -> MfccConfig:
    """Checks settings that a user or a backbone gives.

    Raises:
        BackboneError: a setting is unknown or out of range.
    """
    try:
        return MfccConfig.model_validate(dict(settings))
    except ValidationError as error:
        wrong = faults(error, whole="mfcc")
        raise BackboneError(f"tokenizer: {wrong}; correct the mfcc settings") from error


def mfcc_features(wave: NDArray[np.float32], config: MfccConfig) -> torch.Tensor:
    """Cepstra, deltas and double deltas of one clip.

    Args:
        wave: float32 [samples] at ``config.sample_rate``.
        config: settings.

    Returns:
        float64 [frames, config.dim]; no frames where the clip is shorter than a window.
    """
    blocks = [
        kaldi.mfcc(
            block[None],
            sample_frequency=float(config.sample_rate),
            frame_length=1000 * config.window_seconds,
            frame_shift=1000 * config.hop_seconds,
            num_ceps=config.coefficients,
            num_mel_bins=config.mel_bins,
            low_freq=LOWEST_HERTZ,
            high_freq=config.highest_hertz,
            use_energy=False,
        )
        for block in _blocks(torch.tensor(wave, dtype=torch.float64), config)
    ]
    if not blocks:
        return torch.empty(0, config.dim, dtype=torch.float64)
    cepstra = torch.cat(blocks).T  # [coefficients, frames]
    deltas = compute_deltas(cepstra, win_length=config.delta_windows)
    accelerations = compute_deltas(deltas, win_length=config.delta_windows)
    features = torch.cat([cepstra, deltas, accelerations]).T
    if config.normalise == "mean":
        features = features - features.mean(0)
    if config.normalise == "loudness":
        features[:, 0] -= features[:, 0].mean()
    return features[:: config.keep_every]


def _blocks(wave: torch.Tensor, config: MfccConfig) -> Iterator[torch.Tensor]:
    """Cuts a waveform into overlapping pieces whose frames, put together, are the frames of the whole."""
    # As kaldi counts them, to the rounding: whole samples, and only windows that lie inside the clip.
    window = int(config.sample_rate * (1000 * config.window_seconds) * 0.001)
    hop = int(config.sample_rate * (1000 * config.hop_seconds) * 0.001)
    frames = 0 if len(wave) < window else 1 + (len(wave) - window) // hop
    for first in range(0, frames, _BLOCK_WINDOWS):
        last = min(first + _BLOCK_WINDOWS, frames) - 1
        yield wave[first * hop : last * hop + window]


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
    settings: ClassVar[type[BaseModel] | None] = MfccConfig
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

    def mean_features(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The scaled features, which are one layer."""
        return [self._features(wave).mean(0, keepdim=True).float().numpy() for wave in waves]

    def _encode_one(self, wave: NDArray[np.float32]) -> NDArray[np.int64]:
        units: NDArray[np.int64] = kmeans.assign(self._features(wave), self._centroids_f64).numpy()
        return units

    def _features(self, wave: NDArray[np.float32]) -> torch.Tensor:
        """Scaled features, float64 [frames, config.dim]."""
        with torch.inference_mode():
            return mfcc_features(wave, self._config) * self._scale_f64


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
