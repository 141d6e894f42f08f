"""Opening of a recording for decoding, with its header checked against its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

import soundfile

from infra.foreign_file import FETCH_AGAIN
from task_specs.audio_container import flac, mpeg, ogg, riff
from task_specs.audio_container.byte_view import ByteView
from task_specs.audio_container.foreign import what_it_is
from task_specs.audio_container.tags import after_leading_tags
from task_specs.audio_container.unusable import CONVERT, UnusableAudio, cut_off

SAMPLE_RATES: Final = range(1_000, 768_001)
"""Supported sample rates in Hz, from below telephone quality to the highest of any converter."""
CHANNELS: Final = range(1, 129)
_FORMATS: Final = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "NIST", "W64")
_NOT_READ: Final = "not a WAV, FLAC, OGG or MP3 file that can be decoded"
_UNKNOWN_FRAMES: Final = 1 << 62
"""libsndfile reports about twice as many if it does not know the number."""
_OTHER_MAGICS: Final = (b"FORM", b".snd", b"dns.", b"NIST_1A", b"caff", b"riff")
# For these formats libsndfile reads what is there, and notes in its log what should be.
_SHORT: Final = re.compile(r"(?:SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)")
_NIST_SAMPLES: Final = re.compile(rb"sample_count -i (\d+)")


@dataclass(frozen=True)
class Recording:
    """An open recording.

    Attributes:
        file: source of the samples, in order; the reader must check their number against the header.
        sample_rate: sample rate in Hz, in ``SAMPLE_RATES``.
        channels: number of channels, in ``CHANNELS``.
        frames: samples per channel by the header; ``None`` if unknown when the header was written.
        seekable: whether ``file`` can seek.
        view: bytes that ``file`` reads.
    """

    file: soundfile.SoundFile
    sample_rate: int
    channels: int
    frames: int | None
    seekable: bool
    view: ByteView

    @property
    def seconds(self) -> float | None:
        """Length in seconds by the header; ``None`` if unknown."""
        return None if self.frames is None else self.frames / self.sample_rate


@contextmanager
def open_recording(file: BinaryIO) -> Iterator[Recording]:
    """Open a WAV, FLAC, OGG or MP3 file, or another that libsndfile reads reliably.

    Args:
        file: the whole file; its position changes.

    Raises:
        UnusableAudio: the file is not a recording, is cut off, or has an impossible header.
    """
    view = ByteView(file)
    if not view.size:
        raise UnusableAudio("empty", "the file has no bytes; record it again or remove its row")
    view = view.part(after_leading_tags(view))
    if not view.size:
        raise UnusableAudio("empty", f"the file holds a tag and no sound; {FETCH_AGAIN}")
    view, promised = _mended(view)
    try:
        opened = _InOrder(view)
    except soundfile.LibsndfileError as error:
        raise UnusableAudio("unreadable", f"{_NOT_READ} ({decoder_reason(error)}); {CONVERT}") from error
    with opened:
        if opened.format not in _FORMATS:
            raise UnusableAudio("unreadable", f"its format is {opened.format}, which is not read; {CONVERT}")
        for name, value, limits in (
            ("samples per second", opened.samplerate, SAMPLE_RATES),
            ("channels", opened.channels, CHANNELS),
        ):
            if value not in limits:
                detail = f"its header says {value} {name}, but only {limits.start} to {limits.stop - 1} are read"
                raise UnusableAudio("unreadable", f"{detail}; write the file again")
        if promised is None and opened.frames < _UNKNOWN_FRAMES:
            promised = opened.frames
        seekable = bool(soundfile.SoundFile.seekable(opened))
        _check_size(opened, view)
        yield Recording(opened, opened.samplerate, opened.channels, promised, seekable, view)


def decoder_reason(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's reason as part of a sentence."""
    return str(error.error_string).removeprefix("Error : ").rstrip(".")


class _InOrder(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is only read forwards. A seekable ``SoundFile`` seeks around each block and reads no more than
    ``frames``, which fails for a FLAC file without a length and an MP3 file without a table."""

    def seekable(self) -> bool:
        return False


def _mended(view: ByteView) -> tuple[ByteView, int | None]:
    """Return the file without wrong lengths in its header, and the number of samples if it was removed."""
    magic = view.at(0, 12)
    if magic.startswith(riff.MAGICS) and magic[8:] == b"WAVE":
        return riff.mended(view), None
    if magic.startswith(flac.MAGIC):
        return flac.mended(view)
    if magic.startswith(ogg.MAGIC):
        ogg.check(view)
        return view, None
    foreign = what_it_is(view)
    if foreign is not None:
        raise UnusableAudio("unreadable", foreign)
    if magic.startswith(_OTHER_MAGICS):
        return view, None
    frames = mpeg.mended(view)
    if frames is None:
        raise UnusableAudio("unreadable", f"{_NOT_READ} (it begins like none of them); {CONVERT}")
    return frames, None


def _check_size(opened: soundfile.SoundFile, view: ByteView) -> None:
    if opened.format in ("AIFF", "AU", "W64") and (short := _SHORT.search(opened.extra_info)):
        promised, found = map(int, short.groups())
        if found < promised < riff.NEVER_FINISHED:
            raise cut_off(promised, found, "bytes of samples")
    stated = _NIST_SAMPLES.search(view.at(0, 1024)) if opened.format == "NIST" else None
    if stated is not None and int(stated[1]) > opened.frames:
        raise cut_off(int(stated[1]), opened.frames)
