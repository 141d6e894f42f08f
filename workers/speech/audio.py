"""Audio bytes to a mono waveform of one sample rate, and the policy on how long it may be."""

from __future__ import annotations

import io
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from infra.errors import AudioError
from task_specs.audio_container.recording import open_recording
from task_specs.audio_container.unusable import CONVERT, UnusableAudio
from task_specs.audio_policy import AudioPolicy
from workers.speech.decoding import Mono, mono

RejectionKind = Literal["missing", "unreadable", "empty", "too short", "too long", "fatal"]

LONGEST_IN_WINDOWS_SECONDS: Final = 4 * 3600.0
"""Longest recording that is cut into windows, which is in memory as a whole: 0.9 GB at 16 kHz."""
CANCELLED_NOTE: Final = "its channels cancel each other, so its first one was used instead of their mean"


class RejectedAudio(AudioError):
    """A recording that cannot be used; what quarantine collects.

    Attributes:
        name: the recording, as the user would name it.
        kind: the reason in one or two words, for counting. ``missing`` and ``fatal`` are no property of its content.
        detail: the reason and its remedy, without the recording's name.
    """

    def __init__(self, name: str, kind: RejectionKind, detail: str) -> None:
        super().__init__(detail, where=name, field=kind)
        self.name = name
        self.kind: RejectionKind = kind
        self.detail = detail


class Heard(NamedTuple):
    """A waveform, float32 [samples], and what a user should know of how it came about."""

    wave: NDArray[np.float32]
    note: str | None


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
        Samples, float32 [samples], full scale 1.0, finite and in memory of their own; channels are averaged, unless
        they cancel each other: then it is the first one.

    Raises:
        RejectedAudio: it is not audio, breaks off, holds no samples or such as are none, or ends before ``start`` or
            ``end``, or whatever else kept it from being decoded.
    """
    return _decode(data, name=name, sample_rate=sample_rate, start=start, end=end, longest=None).wave


def decode_fitted(
    data: bytes,
    *,
    name: str,
    sample_rate: int,
    policy: AudioPolicy,
    start: float | None = None,
    end: float | None = None,
) -> Heard:
    """`decode` and `apply_policy`, in the time and memory of what the policy keeps.

    Raises:
        RejectedAudio: it cannot be decoded, or the policy refuses it.
    """
    longest = longest_samples(policy, sample_rate)
    found = _decode(data, name=name, sample_rate=sample_rate, start=start, end=end, longest=longest)
    wave = apply_policy(found.wave, sample_rate=sample_rate, policy=policy, name=name, seconds=found.seconds)
    return Heard(wave, CANCELLED_NOTE if found.cancelled else None)


def _decode(
    data: bytes, *, name: str, sample_rate: int, start: float | None, end: float | None, longest: int | None
) -> Mono:
    try:
        with open_recording(io.BytesIO(data)) as recording:
            found = mono(recording, sample_rate, start=start, end=end, longest=longest)
        if not found.cancelled:
            return found
        # A second time: few recordings are so, and all others need half the memory for it.
        with open_recording(io.BytesIO(data)) as recording:
            first = mono(recording, sample_rate, start=start, end=end, longest=longest, mixed=False)
        return first._replace(cancelled=True)
    except UnusableAudio as error:
        raise RejectedAudio(name, error.kind, error.detail) from error
    except MemoryError as error:
        raise RejectedAudio(name, "fatal", "there was too little memory to decode it; give workers more") from error
    except Exception as error:  # whatever it is, it is this recording's
        detail = f"decoding it failed ({type(error).__name__}: {error}); {CONVERT}"
        raise RejectedAudio(name, "fatal", detail) from error


def seconds_of(data: bytes) -> float | None:
    """Length of a recording by its header, or ``None`` where only decoding can tell."""
    try:
        with open_recording(io.BytesIO(data)) as recording:
            return recording.seconds
    except Exception:  # noqa: BLE001  decoding it says what is wrong
        return None


def longest_samples(policy: AudioPolicy, sample_rate: int) -> int:
    """Samples after which a policy keeps nothing of a recording."""
    seconds = LONGEST_IN_WINDOWS_SECONDS if policy.too_long == "window" else policy.max_seconds
    return round(seconds * sample_rate)


def apply_policy(
    wave: NDArray[np.float32], *, sample_rate: int, policy: AudioPolicy, name: str, seconds: float | None = None
) -> NDArray[np.float32]:
    """Crops or pads a waveform as the task's policy says.

    Args:
        wave: float32 [samples].
        sample_rate: samples per second.
        policy: the shortest and longest clip, and what becomes of others. Cropping keeps the beginning;
            padding adds silence at the end; what is cut into windows later stays as long as it is.
        name: what to call the recording in an error.
        seconds: how long it is, if it is known and not all of it was decoded.

    Returns:
        float32 [samples], between the policy's limits unless it asks for windows; a cropped one owns its memory.

    Raises:
        RejectedAudio: the policy refuses the clip.
    """
    shortest, longest = round(policy.min_seconds * sample_rate), longest_samples(policy, sample_rate)
    if len(wave) < shortest:
        if policy.too_short == "pad":
            return np.pad(wave, (0, shortest - len(wave)))
        detail = f"{len(wave) / sample_rate:.3f} s, and audio.min_seconds is {policy.min_seconds:g}"
        raise RejectedAudio(name, "too short", f"{detail}; lower it, or set audio.too_short to pad")
    if len(wave) > longest:
        if policy.too_long == "crop":
            return wave[:longest].copy()
        length = f"{max(seconds or 0.0, len(wave) / sample_rate):.3f} s"
        if policy.too_long == "window":
            most = f"{LONGEST_IN_WINDOWS_SECONDS:g} s are the most that is cut into windows"
            raise RejectedAudio(name, "too long", f"{length}, and {most}; cut it up")
        detail = f"{length}, and audio.max_seconds is {policy.max_seconds:g}"
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
