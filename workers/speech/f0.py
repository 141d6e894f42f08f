"""Fundamental frequency (F0) of a clip, tracked by YAAPT with the settings of pGSLM's own preprocessing.

https://github.com/facebookresearch/fairseq/blob/main/fairseq/data/codedataset.py (get_f0)
"""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import TYPE_CHECKING, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from infra.errors import BackboneError, MissingExtra
from workers.speech.prosody import Pitch, PitchStatistics, segment_f0
from workers.speech.resampling import resample

if TYPE_CHECKING:
    from types import ModuleType

SAMPLE_RATE: Final = 16_000


class F0Settings(BaseModel):
    """Settings of the tracker; all others are YAAPT's own, such as its range of 60 to 400 Hz.

    They hold for audio at 16 kHz, to which every other is resampled first: thresholds and the resolution of
    YAAPT's spectrum depend on the rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["yaapt"] = "yaapt"
    hop_seconds: float = Field(0.005, ge=0.001, le=0.1)
    """Time from value to value."""
    frame_length_ms: float = Field(20.0, ge=5, le=100)
    """Window of the spectrum. Half of it is put before and after the clip as silence, so that the first value
    belongs to the first sample."""
    nccf_thresh1: float = Field(0.25, gt=0, lt=1)
    """Height from which on a peak of the correlation is a candidate."""
    tda_frame_length_ms: float = Field(25.0, ge=20, le=100)
    """Window of the correlation; it must hold the longest period."""
    peak: float = Field(0.95, gt=0, le=1)
    """Largest absolute sample of the clip as the tracker sees it."""

    @model_validator(mode="after")
    def _whole_samples(self) -> Self:
        if abs(self.hop_seconds * SAMPLE_RATE - self.hop) > 1e-6:
            raise ValueError(f"hop_seconds ({self.hop_seconds:g}) is no whole number of samples at {SAMPLE_RATE} Hz")
        return self

    @property
    def hop(self) -> int:
        """Samples from value to value."""
        return round(self.hop_seconds * SAMPLE_RATE)

    def digest(self) -> str:
        """Name of the settings by their content, 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()[:16]


def track_f0(wave: NDArray[np.float32], *, sample_rate: int, settings: F0Settings) -> NDArray[np.float32]:
    """Tracks the F0 of one clip.

    The same samples and settings give the same values on one machine. It takes about 15 MB of memory for each
    second of audio. Python's warning filters are changed meanwhile, so call it from one thread at a time.

    Args:
        wave: float32 [samples].
        sample_rate: samples per second of ``wave``.
        settings: of the tracker.

    Returns:
        Hertz, 0 where unvoiced, one value per hop: float32 [ceil(samples at 16 kHz / hop)]. All 0 where YAAPT
        gives up, as it does on clips shorter than four values; the reference does the same.

    Raises:
        MissingExtra: amfm-decompy is not installed.
    """
    yaapt = load_yaapt()
    # In float64, as the reference decodes.
    samples = resample(wave, sample_rate, SAMPLE_RATE).astype(np.float64)
    unvoiced = np.zeros(-(-len(samples) // settings.hop), np.float32)
    loudest = np.abs(samples).max(initial=0.0)
    if loudest == 0.0:
        return unvoiced
    margin = round(settings.frame_length_ms * SAMPLE_RATE / 1000) // 2
    signal = yaapt.basic.SignalObj(np.pad(samples / loudest * settings.peak, margin), SAMPLE_RATE)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Clips without a voiced frame make it take the mean of nothing, which it survives.
        warnings.simplefilter("ignore")
        try:
            pitch = yaapt.yaapt(
                signal,
                frame_length=settings.frame_length_ms,
                frame_space=settings.hop * 1000 / SAMPLE_RATE,
                nccf_thresh1=settings.nccf_thresh1,
                tda_frame_length=settings.tda_frame_length_ms,
            )
        except (IndexError, ValueError):
            return unvoiced
    track: NDArray[np.float32] = pitch.samp_values.astype(np.float32)
    return track


def measure_pitch(
    wave: NDArray[np.float32],
    durations: NDArray[np.int32],
    *,
    sample_rate: int,
    frame_seconds: float,
    settings: F0Settings,
) -> Pitch:
    """Pitch of the units of one clip.

    Args:
        wave: the clip, float32 [samples].
        durations: frames of each unit, int32 [T].
        sample_rate: samples per second of ``wave``.
        frame_seconds: time of one frame.
        settings: of the tracker.

    Raises:
        BackboneError: a frame is no whole number of hops.
        MissingExtra: amfm-decompy is not installed.
    """
    ratio = values_per_frame(settings, frame_seconds=frame_seconds)
    track = track_f0(wave, sample_rate=sample_rate, settings=settings)
    return Pitch(segment_f0(track, durations, values_per_frame=ratio), PitchStatistics.of(track))


def load_yaapt() -> ModuleType:
    """The module ``amfm_decompy.pYAAPT``.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        from amfm_decompy import pYAAPT
    except ImportError as error:
        raise MissingExtra("amfm-decompy", "prosody") from error
    module: ModuleType = pYAAPT
    return module


def values_per_frame(settings: F0Settings, *, frame_seconds: float) -> int:
    """How many F0 values belong to one frame of the tokenizer, at least 1.

    Raises:
        BackboneError: it is not a whole number.
    """
    ratio = frame_seconds / settings.hop_seconds
    values = round(ratio)
    if values < 1 or abs(ratio - values) > 1e-6 * ratio:
        raise BackboneError(
            f"f0.hop_seconds is {settings.hop_seconds:g} and a frame of the tokenizer lasts {frame_seconds:g} s, "
            "which is no whole number of hops; choose a hop that divides the frame"
        )
    return values
