"""MFCC with deltas and double deltas, the features of HuBERT's first iteration.

https://github.com/facebookresearch/fairseq/blob/main/examples/hubert/simple_kmeans/dump_mfcc_feature.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra.errors import BackboneError
from workers.fault_text import faults
from workers.speech.torchaudio_import import compute_deltas, kaldi

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
