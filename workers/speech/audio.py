"""Audio bytes to a mono waveform of one sample rate, and the policy on how long it may be."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from infra.errors import AudioError
from task_specs.audio_policy import AudioPolicy
from workers.speech.torchaudio_import import Resample

RejectionKind = Literal["missing", "unreadable", "empty", "too short", "too long"]

# Manifests round their times; an end this much past the recording's is the recording's end.
_END_TOLERANCE_SECONDS: Final = 0.05

# A polyphase filter has one phase per step of this denominator. 640 phases bring 11.025 kHz to 16 kHz
# exactly; an odd rate such as 11,127 Hz is met within one part in a million, without 16,000 phases.
_MOST_PHASES: Final = 1024


class RejectedAudio(AudioError):
    """A recording that cannot be used; what quarantine collects.

    Attributes:
        name: the recording, as the user would name it.
        kind: the reason in one or two words, for counting.
        detail: the reason and its remedy, without the recording's name.
    """

    def __init__(self, name: str, kind: RejectionKind, detail: str) -> None:
        super().__init__(f"{name}: {kind}: {detail}")
        self.name = name
        self.kind: RejectionKind = kind
        self.detail = detail

    def __reduce__(self) -> tuple[type[RejectedAudio], tuple[str, str, str]]:
        return (RejectedAudio, (self.name, self.kind, self.detail))


def decode(
    data: bytes, *, name: str, sample_rate: int, start: float | None = None, end: float | None = None
) -> NDArray[np.float32]:
    """Decodes a WAV, FLAC, OGG or MP3 file, or a part of it, to mono at ``sample_rate``.

    Args:
        data: the whole file.
        name: what to call it in an error.
        sample_rate: samples per second of the result.
        start: first second that counts; ``None`` means the beginning.
        end: second at which it ends; ``None`` means the end of the file.

    Returns:
        Samples, float32 [samples], full scale 1.0; channels are averaged.

    Raises:
        RejectedAudio: it is not audio, holds no samples or numbers that are not finite, or ends before
            ``start`` or ``end``.
    """
    if not data:
        raise RejectedAudio(name, "empty", "the file has no bytes; record it again or remove its row")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            first, stop = _segment(file.frames, rate, name=name, start=start, end=end)
            # An MP3 frame borrows bits from the frames before it, so a jump into the middle garbles the first ones.
            skipped = first if file.format == "MP3" else 0
            file.seek(first - skipped)
            channels = file.read(skipped + stop - first, dtype="float32", always_2d=True)[skipped:]
    except soundfile.LibsndfileError as error:
        detail = f"not a WAV, FLAC, OGG or MP3 file that can be decoded ({error.error_string}); convert it"
        raise RejectedAudio(name, "unreadable", detail) from error
    if len(channels) == 0:
        raise RejectedAudio(name, "empty", "it holds no samples; record it again or remove its row")
    # The length of an MP3 without a frame count is an estimate: an MP3 may be shorter than announced.
    if len(channels) < stop - first and file.format != "MP3":
        detail = f"its header promises {stop - first} samples but {len(channels)} follow; fetch the file again"
        raise RejectedAudio(name, "unreadable", detail)
    if not np.isfinite(channels).all():
        raise RejectedAudio(name, "unreadable", "some samples are not finite numbers; write the file again")
    return resample(channels.mean(axis=1), rate, sample_rate)


def seconds_of(data: bytes) -> float | None:
    """Length of a recording by its header, or ``None`` where only decoding can tell what is wrong with it."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return float(file.frames) / float(file.samplerate)
    except soundfile.LibsndfileError:
        return None


def resample(wave: NDArray[np.float32], rate: int, sample_rate: int) -> NDArray[np.float32]:
    """Brings a waveform, float32 [samples], from ``rate`` to ``sample_rate`` samples per second."""
    if rate == sample_rate:
        return wave
    ratio = Fraction(rate, sample_rate).limit_denominator(_MOST_PHASES)
    with torch.inference_mode():
        resampled: NDArray[np.float32] = _resampler(ratio)(torch.from_numpy(wave)).numpy()
    return resampled


def apply_policy(wave: NDArray[np.float32], *, sample_rate: int, policy: AudioPolicy, name: str) -> NDArray[np.float32]:
    """Crops or pads a waveform as the task's policy says.

    Args:
        wave: float32 [samples].
        sample_rate: samples per second.
        policy: the shortest and longest clip, and what becomes of others. Cropping keeps the beginning;
            padding adds silence at the end; what is cut into windows later stays as long as it is.
        name: what to call the recording in an error.

    Returns:
        float32 [samples], between the policy's limits unless it asks for windows.

    Raises:
        RejectedAudio: the policy refuses the clip.
    """
    shortest, longest = round(policy.min_seconds * sample_rate), round(policy.max_seconds * sample_rate)
    if len(wave) < shortest:
        if policy.too_short == "pad":
            return np.pad(wave, (0, shortest - len(wave)))
        detail = f"{len(wave) / sample_rate:.3f} s, and audio.min_seconds is {policy.min_seconds:g}"
        raise RejectedAudio(name, "too short", f"{detail}; lower it, or set audio.too_short to pad")
    if len(wave) > longest:
        if policy.too_long == "crop":
            return wave[:longest]
        if policy.too_long == "window":
            return wave
        detail = f"{len(wave) / sample_rate:.3f} s, and audio.max_seconds is {policy.max_seconds:g}"
        raise RejectedAudio(name, "too long", f"{detail}; raise it, or set audio.too_long to crop")
    return wave


def windows(wave: NDArray[np.float32], longest: int) -> list[NDArray[np.float32]]:
    """Cut a waveform into the fewest windows that cover it.

    All are equally long, the first begins where the waveform does, and the last ends where it does, so neighbours
    overlap by as much as there is to spare.

    Args:
        wave: float32 [samples].
        longest: samples of a window.

    Returns:
        The waveform itself if it is no longer; float32 [longest] each otherwise.
    """
    if len(wave) <= longest:
        return [wave]
    starts = np.linspace(0, len(wave) - longest, -(-len(wave) // longest)).round().astype(np.int64)
    return [wave[start : start + longest] for start in starts]


def _segment(frames: int, rate: int, *, name: str, start: float | None, end: float | None) -> tuple[int, int]:
    """First and past-the-last sample of a part of a recording."""
    if frames == 0:
        raise RejectedAudio(name, "empty", "it holds no samples; record it again or remove its row")
    first = 0 if start is None else round(start * rate)
    stop = frames if end is None else round(end * rate)
    if first >= frames or stop > frames + _END_TOLERANCE_SECONDS * rate:
        detail = f"the part {start or 0:g} s to {'the end' if end is None else f'{end:g} s'} lies outside"
        raise RejectedAudio(name, "too short", f"{detail} its {frames / rate:.3f} s; correct start and end")
    stop = min(stop, frames)
    if first >= stop:
        raise RejectedAudio(name, "empty", "start is not before end; correct them")
    return first, stop


@lru_cache(maxsize=16)
def _resampler(ratio: Fraction) -> Resample:
    return Resample(ratio.numerator, ratio.denominator)
