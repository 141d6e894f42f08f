"""The samples of an open recording as one channel, decoded block by block and no further than they are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from infra.foreign_file import FETCH_AGAIN
from task_specs.audio_container import flac
from task_specs.audio_container.recording import Recording, decoder_reason
from task_specs.audio_container.unusable import CONVERT, UnusableAudio, cut_off, several_in_turn
from workers.speech.resampling import Resampler, source_samples

# Manifests round their times; an end this much past the recording's is the recording's end.
_END_TOLERANCE_SECONDS: Final = 0.05
_BLOCK_NUMBERS: Final = 1 << 17
"""Numbers decoded at a time, of all channels."""
_LOUDEST: Final = float(1 << 31)
"""Largest sample that is taken for one: some writers leave integers of 32 bits in floating-point files, whose full
scale is 1. With it no sum of a filter or a spectrum overflows."""
# The sum of channels 40 dB below them is no sum of voices.
_CANCELLED: Final = 1e-4
# A decoder may drop a frame at either end of an MP3 that was cut out of another.
_MP3_TOLERANCE_SAMPLES: Final = 2 * 1152
_ENDLESS: Final = 1 << 62


class Mono(NamedTuple):
    """What was decoded.

    Attributes:
        wave: float32 [samples], finite, in memory of its own.
        seconds: length of the whole that was asked for, where the header knows it.
        cancelled: whether channels were mixed that cancel each other.
    """

    wave: NDArray[np.float32]
    seconds: float | None
    cancelled: bool


def mono(
    recording: Recording,
    sample_rate: int,
    *,
    start: float | None = None,
    end: float | None = None,
    longest: int | None = None,
    mixed: bool = True,
) -> Mono:
    """Decodes a recording, or a part of it, from its beginning.

    Args:
        recording: just opened.
        sample_rate: samples per second of the result.
        start: first second that counts; ``None`` means the beginning.
        end: second at which it ends; ``None`` means the end of the file.
        longest: samples of the result after which no more is decoded than shows that there are more: ``longest + 1``
            come back, the same as without a limit.
        mixed: whether channels are averaged; otherwise the first one is taken.

    Raises:
        UnusableAudio: it breaks off, goes on where its header says it ends, holds no samples or such as are none, or
            ends before ``start`` or ``end``.
    """
    rate = recording.sample_rate
    first, stop = _segment(recording, start, end)
    wanted = stop - first
    limit = wanted if longest is None else min(wanted, source_samples(longest, rate, sample_rate))
    result = Resampler(rate, sample_rate)
    found, loudness, mixed_loudness = 0, 0.0, 0.0
    for block in _blocks(recording, first, limit):
        wave = block.mean(axis=1) if mixed else block[:, 0].copy()
        result.add(wave)
        found += len(block)
        loudness += float(np.vdot(block, block)) / recording.channels
        mixed_loudness += float(np.vdot(wave, wave))
    if found < limit:
        _check_end(recording, first, found, start=start, end=end)
    elif first + found == recording.frames:
        _check_no_more(recording)
    wave = result.finish()
    if longest is not None and len(wave) > longest + 1:
        wave = wave[: longest + 1].copy()
    seconds = None if recording.frames is None else wanted / rate
    return Mono(wave, seconds, mixed and mixed_loudness < _CANCELLED * loudness)


def _blocks(recording: Recording, first: int, count: int) -> Iterator[NDArray[np.float32]]:
    """Samples of all channels from ``first`` on, at most ``count``, float32 [samples, channels] at a time.

    Raises:
        UnusableAudio: some are not finite, or larger than any sample.
    """
    dropped = first
    if recording.file.format == "MP3":
        # A frame borrows bits from those before it, so a jump into the middle garbles the first ones. A jump to the
        # beginning changes the last bits of samples, and soundfile's own way of reading makes it.
        if recording.seekable:
            _seek(recording, 0)
    elif first and recording.seekable and recording.frames is not None:
        _seek(recording, first)
        dropped = 0
    size = _BLOCK_NUMBERS // recording.channels
    left = dropped + count
    while left and len(block := _read(recording, min(size, left))):
        left -= len(block)
        skipped = min(dropped, len(block))
        dropped -= skipped
        if skipped == len(block):
            continue
        block = block[skipped:]
        if not np.isfinite(block).all():
            raise UnusableAudio("unreadable", "some samples are not finite numbers; write the file again")
        loudest = max(float(block.max()), -float(block.min()))
        if loudest > _LOUDEST:
            detail = f"a sample is {loudest:.3g}, where full scale is 1; write the file again"
            raise UnusableAudio("unreadable", detail)
        yield block


def _seek(recording: Recording, place: int) -> None:
    try:
        recording.file.seek(place)
    except soundfile.LibsndfileError as error:
        raise _undecodable(recording, error) from error


def _read(recording: Recording, count: int) -> NDArray[np.float32]:
    try:
        block: NDArray[np.float32] = recording.file.read(count, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _undecodable(recording, error) from error
    return block


def _undecodable(recording: Recording, error: soundfile.LibsndfileError) -> UnusableAudio:
    promise = "" if recording.frames is None else f"its header promises {recording.frames} samples but "
    detail = f"{promise}it cannot be decoded to its end ({decoder_reason(error)}); {FETCH_AGAIN}, or {CONVERT}"
    return UnusableAudio("unreadable", detail)


def _segment(recording: Recording, start: float | None, end: float | None) -> tuple[int, int]:
    """First and past-the-last sample of a part of a recording; a length that is not known is without end."""
    rate, frames = recording.sample_rate, recording.frames
    if frames == 0:
        raise _no_samples()
    first = 0 if start is None else round(start * rate)
    stop = (_ENDLESS if frames is None else frames) if end is None else round(end * rate)
    if frames is not None:
        if first >= frames or stop > frames + _END_TOLERANCE_SECONDS * rate:
            raise _outside(frames / rate, start, end)
        stop = min(stop, frames)
    if first >= stop:
        raise UnusableAudio("empty", "start is not before end; correct them")
    return first, stop


def _check_end(recording: Recording, first: int, found: int, *, start: float | None, end: float | None) -> None:
    """Whether a recording may end where its decoder did, ``found`` samples after ``first``.

    Raises:
        UnusableAudio: it may not.
    """
    if recording.frames is not None:
        tolerance = _MP3_TOLERANCE_SAMPLES if recording.file.format == "MP3" and found else 0
        if first + found < recording.frames - tolerance:
            raise cut_off(recording.frames, first + found if found else 0)
    elif not found and not first:
        raise _no_samples()
    elif not found or (end is not None and first + found < (end - _END_TOLERANCE_SECONDS) * recording.sample_rate):
        raise _outside((first + found) / recording.sample_rate if found else None, start, end)


def _check_no_more(recording: Recording) -> None:
    """Whether a recording ends where its header says, which ``open_recording`` has hidden from the decoder of FLAC.

    Raises:
        UnusableAudio: it goes on.
    """
    if recording.file.format != "FLAC":
        return
    try:
        more = len(recording.file.read(1, dtype="float32", always_2d=True))
    except soundfile.LibsndfileError:
        # What stands behind it is no sound, or begins with a header.
        if flac.holds_another(recording.view):
            raise several_in_turn() from None
        return
    if more:
        detail = f"it holds more than the {recording.frames} samples that its header promises; {CONVERT}"
        raise UnusableAudio("unreadable", detail)


def _no_samples() -> UnusableAudio:
    return UnusableAudio("empty", "it holds no samples; record it again or remove its row")


def _outside(seconds: float | None, start: float | None, end: float | None) -> UnusableAudio:
    part = f"the part {start or 0:g} s to {'the end' if end is None else f'{end:g} s'}"
    length = "it" if seconds is None else f"its {seconds:.3f} s"
    return UnusableAudio("too short", f"{part} lies outside {length}; correct start and end")
