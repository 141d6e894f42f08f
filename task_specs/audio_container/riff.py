"""WAV files: RIFF and its big-endian and 64-bit forms.

https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html, https://tech.ebu.ch/docs/tech/tech3306.pdf
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from infra.foreign_file import FETCH_AGAIN
from task_specs.audio_container.byte_view import ByteView
from task_specs.audio_container.unusable import UnusableAudio, cut_off, several_in_turn

MAGICS: Final = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_MOST_CHUNKS: Final = 4096
_LARGEST_LAYOUT: Final = 1024
_MOST_PADDING: Final = 2048
_UNKNOWN_32: Final = 0xFFFFFFFF
# Programs that write to pipes cannot fill in sizes later. They leave 0, or the largest value of the field or of a
# signed number, minus their headers: FFmpeg 0xFFFFFFFF, SoX and espeak 0x7FFFF000, arecord 0x7FFFFFFF.
_NEAR_THE_MOST: Final = 1 << 16
NEVER_FINISHED: Final = (1 << 31) - _NEAR_THE_MOST
"""Smallest size that counts as never filled in."""
# Some programs count the header, 44 bytes, as samples; no samples are lost.
_HEADER_COUNTED_IN: Final = 64
_CHUNKS_BEFORE_SAMPLES: Final = (b"data", b"fact", b"fmt ", b"LIST")
_ONE_SAMPLE_A_BLOCK: Final = (0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE)


class _Samples(NamedTuple):
    """The chunk of samples: the position of its size, its beginning, and its size by the header."""

    size_at: int
    begin: int
    promised: int


def mended(view: ByteView) -> ByteView:
    """Return the file with a header that libsndfile reads, and the true size of its samples if it was never filled in.

    Raises:
        UnusableAudio: the file is cut off.
    """
    magic = view.at(0, 4)
    order: Literal["big", "little"] = "big" if magic == b"RIFX" else "little"
    # BW64 is a later version of RF64 that libsndfile does not know by name.
    replaced = {0: b"RF64"} if magic == b"BW64" else {}
    layout, samples, padded = _chunks(view, order)
    if samples is None:
        return view.with_bytes(replaced)
    held = view.size - samples.begin
    size, whole = min(held, samples.promised), int.from_bytes(view.at(4, 4), order) + 8 <= view.size
    if _never_finished(view, samples, held):
        width = 4 if samples.size_at == samples.begin - 4 else 8
        size = min(held, _UNKNOWN_32)
        replaced[samples.size_at] = size.to_bytes(width, order)
    elif samples.promised - held > (_HEADER_COUNTED_IN if whole else 0):
        raise cut_off(_frames(samples.promised, layout, order), _frames(held, layout, order))
    following = view.at(samples.begin + size + size % 2, 12)
    if following[:4] in MAGICS and following[8:] == b"WAVE":
        raise several_in_turn()
    if _goes_on(view, samples.begin + size):
        detail = f"it holds more than the {_frames(size, layout, order)} samples that its header promises"
        raise UnusableAudio("unreadable", f"{detail}; write it again, as with: ffmpeg -ignore_length 1 -i OLD NEW.wav")
    if padded:
        return view.with_bytes(replaced)
    chunks = (b"fmt ", len(layout).to_bytes(4, order), layout, b"data", size.to_bytes(4, order))
    header = b"WAVE" + b"".join(chunks)
    return view.part(samples.begin).preceded_by(magic + (len(header) + size).to_bytes(4, order) + header)


def _chunks(view: ByteView, order: Literal["big", "little"]) -> tuple[bytes, _Samples | None, bool]:
    """Return the layout of the samples, their chunk, and whether all chunks before it begin at even positions."""
    place, layout, long_size_at, padded = 12, b"", 0, True
    for _ in range(_MOST_CHUNKS):
        head = view.at(place, 8)
        if len(head) < 8:
            return layout, None, padded
        name, size = head[:4], int.from_bytes(head[4:], order)
        if name == b"data":
            if size in (0, _UNKNOWN_32) and long_size_at:
                size = int.from_bytes(view.at(long_size_at, 8), "little")
                return layout, _Samples(long_size_at, place + 8, size), padded
            return layout, _Samples(place + 4, place + 8, size), padded
        if name == b"fmt ":
            layout = view.at(place + 8, min(size, _LARGEST_LAYOUT))
        elif name == b"ds64":
            long_size_at = place + 16
        place += 8 + size
        if place > view.size:
            raise UnusableAudio("unreadable", f"it ends before its samples begin; {FETCH_AGAIN}")
        # Not all programs align chunks to even positions.
        if size % 2 and view.at(place, 4) in _CHUNKS_BEFORE_SAMPLES:
            padded = False
        else:
            place += size % 2
    raise UnusableAudio("unreadable", f"it has no samples after {_MOST_CHUNKS} chunks; write the file again")


def _never_finished(view: ByteView, samples: _Samples, held: int) -> bool:
    if samples.promised == 0:
        return held > 0 and not _only_chunks(view, samples.begin)
    limits = (1 << 31, 1 << 32, 1 << 63, 1 << 64)
    return samples.promised > held and any(0 <= limit - samples.promised <= _NEAR_THE_MOST for limit in limits)


def _only_chunks(view: ByteView, place: int) -> bool:
    """Return whether only whole chunks follow, as in a recording without samples."""
    for _ in range(_MOST_CHUNKS):
        head = view.at(place, 8)
        if not head:
            return True
        if len(head) < 8 or not _is_name(head[:4]):
            return False
        size = int.from_bytes(head[4:], "little")
        place += 8 + size + size % 2
        if place > view.size + 1:
            return False
    return False


def _goes_on(view: ByteView, place: int) -> bool:
    """Return whether bytes follow the samples that are neither a chunk, aligned or not, nor padding: an interrupted
    recorder has filled in an earlier size."""
    rest = view.at(place, _MOST_PADDING)
    return len(rest) == _MOST_PADDING and bool(rest.strip(b"\0")) and not (_is_name(rest[:4]) or _is_name(rest[1:5]))


def _is_name(name: bytes) -> bool:
    return name.isascii() and name.decode("ascii").isprintable()


def _frames(count: int, layout: bytes, order: Literal["big", "little"]) -> int:
    """Return the number of samples per channel in ``count`` bytes, by the ``fmt`` chunk."""
    block = int.from_bytes(layout[12:14], order) or 1
    coding = int.from_bytes(layout[:2], order)
    in_a_block = 1 if coding in _ONE_SAMPLE_A_BLOCK else int.from_bytes(layout[18:20], order) or 1
    return count // block * in_a_block
