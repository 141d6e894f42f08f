"""Waveforms from one sample rate to another, whole or as they are decoded."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from workers.speech.torchaudio_import import Resample

# A polyphase filter has one phase per step of this denominator. 640 phases bring 11.025 kHz to 16 kHz
# exactly; an odd rate such as 11,127 Hz is met within one part in a million, without 16,000 phases.
_MOST_PHASES: Final = 1024
# Numbers in a filter, 16 MB. Ratios of up to 4 to 1 reach the phases above.
_MOST_TAPS: Final = 1 << 22
# Of the source. torch takes another algorithm, with other rounding, for less than 20,480 samples at a time.
_SEGMENT_SAMPLES: Final = 1 << 18
# Zero crossings of the filter, on either side, as torchaudio's default has them, and its roll-off.
_FILTER_CROSSINGS, _FILTER_ROLLOFF = 6, 0.99


def resample(wave: NDArray[np.float32], rate: int, sample_rate: int) -> NDArray[np.float32]:
    """Brings a waveform, float32 [samples], from ``rate`` to ``sample_rate`` samples per second."""
    return wave if rate == sample_rate else _resample(wave, _ratio(rate, sample_rate))


def source_samples(samples: int, rate: int, sample_rate: int) -> int:
    """Samples at ``rate`` that are enough for ``samples`` at ``sample_rate``, and one more, to be those of the whole
    recording bit for bit."""
    if rate == sample_rate:
        return samples + 1
    ratio = _ratio(rate, sample_rate)
    blocks = samples // ratio.denominator + 1
    return max((blocks + 1) * ratio.numerator + _reach(ratio), _SEGMENT_SAMPLES)


class Resampler:
    """Brings a waveform to another rate piece by piece: the same samples as ``resample`` gives at once, without a
    second copy of the whole.

    Args:
        rate: samples per second of what comes in.
        sample_rate: samples per second of what comes out.
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._ratio = None if rate == sample_rate else _ratio(rate, sample_rate)
        self._waiting: list[NDArray[np.float32]] = []
        self._waiting_samples = 0
        self._skipped = 0
        self._done: list[NDArray[np.float32]] = []

    def add(self, wave: NDArray[np.float32]) -> None:
        """Takes the next piece, float32 [samples], which is kept."""
        if self._ratio is None:
            self._done.append(wave)
            return
        self._waiting.append(wave)
        self._waiting_samples += len(wave)
        # What is left for the end is never so short that it would be computed in another way.
        if self._waiting_samples >= 3 * _SEGMENT_SAMPLES:
            self._advance(self._ratio)

    def finish(self) -> NDArray[np.float32]:
        """The whole, float32 [samples]."""
        if self._ratio is not None and self._waiting:
            self._done.append(_resample(np.concatenate(self._waiting), self._ratio)[self._skipped :])
            self._waiting = []
        done, self._done = self._done, []
        return np.concatenate([np.empty(0, np.float32), *done])

    def _advance(self, ratio: Fraction) -> None:
        """Computes all but the last segment, and keeps what the filter reaches back to."""
        wave = np.concatenate(self._waiting)
        margin = -(-_reach(ratio) // ratio.numerator)
        blocks = (len(wave) - _SEGMENT_SAMPLES) // ratio.numerator
        # Filters begin anew with every block of as many samples as the ratio's numerator.
        computed = _resample(wave[: (blocks + margin) * ratio.numerator], ratio)
        self._done.append(computed[self._skipped : blocks * ratio.denominator].copy())
        kept = max(0, blocks - margin)
        self._skipped = (blocks - kept) * ratio.denominator
        self._waiting = [wave[kept * ratio.numerator :].copy()]
        self._waiting_samples = len(self._waiting[0])


def _resample(wave: NDArray[np.float32], ratio: Fraction) -> NDArray[np.float32]:
    # Only recordings of another rate need it, and a process that hashes files meets none.
    import torch

    with torch.inference_mode():
        resampled: NDArray[np.float32] = _filter(ratio)(torch.from_numpy(wave)).numpy()
    return resampled


def _ratio(rate: int, sample_rate: int) -> Fraction:
    phases = min(_MOST_PHASES, math.isqrt(_MOST_TAPS * sample_rate // rate))
    return Fraction(rate, sample_rate).limit_denominator(max(1, phases))


def _reach(ratio: Fraction) -> int:
    """Samples of the source on either side that a sample depends on, and a block."""
    slower = min(ratio.numerator, ratio.denominator) * _FILTER_ROLLOFF
    return math.ceil(_FILTER_CROSSINGS * ratio.numerator / slower) + ratio.numerator


@lru_cache(maxsize=16)
def _filter(ratio: Fraction) -> Resample:
    from workers.speech.torchaudio_import import Resample

    return Resample(ratio.numerator, ratio.denominator)
