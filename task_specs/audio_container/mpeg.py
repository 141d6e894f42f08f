"""MPEG audio (MP3) files: frames, and the frame count that encoders write into the first one.

http://www.mp3-tech.org/programmer/frame_header.html, http://gabriel.mp3-tech.org/mp3infotag.html
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from infra.foreign_file import FETCH_AGAIN
from task_specs.audio_container.byte_view import ByteView
from task_specs.audio_container.tags import after_leading_tags, before_trailing_tags
from task_specs.audio_container.unusable import UnusableAudio, cut_off

_SEARCHED_BYTES: Final = 1 << 16
"""Most bytes before the first frame."""
_SURE: Final = 3
"""Frames in a row that prove a stream, or all frames up to the end: two can occur by chance."""
_TABLES: Final = {
    # (version 1, layer): kbit/s
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
# Excludes the reserved layer, version and rate, and invalid bit rates.
_SYNC: Final = re.compile(rb"\xff(?=[\xe2-\xe7\xf2-\xff][\x10-\xef])")
_VBRI_AT: Final = 36
_MOST_GAPS: Final = 16


class _Frame(NamedTuple):
    """A frame's header.

    Attributes:
        kind: header bytes that are equal in all frames of a stream: version, layer and rate.
        size: size in bytes.
        samples: samples per channel.
        count_at: position of the frame count if this is a Xing frame, which only layer III has.
    """

    kind: tuple[int, int]
    size: int
    samples: int
    count_at: int


class _Stream(NamedTuple):
    """Consecutive frames: their number, the end of the last one, and whether a cut-off frame follows."""

    frames: int
    end: int
    cut: bool


def mended(view: ByteView) -> ByteView | None:
    """Return the file from its first frame to its last, with a true frame count; ``None`` if there are no frames.

    A decoder estimates the length of a file without a count and reads no further, believes a given count, and searches
    all other bytes for frames.

    Raises:
        UnusableAudio: the file is cut off.
    """
    view = view.part(0, before_trailing_tags(view))
    first = _first(view)
    if first is None:
        return None
    place, frame = first
    view = view.part(place)
    head, found = view.at(0, frame.size), _walk(view, frame.kind)
    view = view.part(0, found.end)
    count_at = frame.count_at + 8
    has_count = head[frame.count_at : count_at - 4] in (b"Xing", b"Info")
    has_count = has_count and bool(int.from_bytes(head[count_at - 4 : count_at], "big") & 1)
    promised, others = None, found.frames
    if has_count:
        promised, others = int.from_bytes(head[count_at : count_at + 4], "big"), found.frames - 1
    elif head[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        promised, others = int.from_bytes(head[_VBRI_AT + 14 : _VBRI_AT + 18], "big"), found.frames - 1
    # Some encoders count the frame that holds the count.
    if promised is not None and promised > others + 1:
        raise cut_off(promised * frame.samples, others * frame.samples)
    if found.cut and promised is None:
        raise UnusableAudio("unreadable", f"its last frame, after {others}, is not whole; {FETCH_AGAIN}")
    if has_count and promised is not None:
        return view if promised >= others - 1 else view.with_bytes({count_at: others.to_bytes(4, "big")})
    # Decoders use a count in layer III only; in the other layers it follows from the constant bit rate.
    return view.preceded_by(_count_frame(head, found.frames)) if frame.count_at else view


def _first(view: ByteView) -> tuple[int, _Frame] | None:
    head = view.at(0, _SEARCHED_BYTES)
    for match in _SYNC.finditer(head):
        frame = _frame(view.at(match.start(), 4))
        if frame is not None and _in_a_row(view, match.start(), frame.kind):
            return match.start(), frame
    return None


def _in_a_row(view: ByteView, place: int, kind: tuple[int, int]) -> bool:
    """Return whether enough frames follow each other to exclude chance."""
    for number in range(_SURE):
        frame = _frame(view.at(place, 4))
        if frame is None or frame.kind != kind:
            return number > 0 and place >= view.size
        place += frame.size
    return True


def _walk(view: ByteView, kind: tuple[int, int]) -> _Stream:
    """Return all frames of a kind, from the start of the view."""
    count, gaps, place, end = 0, 0, 0, 0
    while True:
        frame = _frame(view.at(place, 4))
        if frame is None or frame.kind != kind:
            # Joined files have tags between them.
            place += after_leading_tags(view.part(place))
            following = _next(view, place, kind)
            if following is None:
                return _Stream(count, end, cut=False)
            gaps += 1
            if gaps > _MOST_GAPS:
                raise UnusableAudio("unreadable", f"it is damaged in more than {_MOST_GAPS} places; {FETCH_AGAIN}")
            place = following
        elif place + frame.size > view.size:
            return _Stream(count, end, cut=True)
        else:
            place, count = place + frame.size, count + 1
            end = place


def _next(view: ByteView, place: int, kind: tuple[int, int]) -> int | None:
    """Return where frames go on after other bytes."""
    for match in _SYNC.finditer(view.at(place, _SEARCHED_BYTES)):
        at = place + match.start()
        frame = _frame(view.at(at, 4))
        if frame is not None and frame.kind == kind and _in_a_row(view, at, kind):
            return at
    return None


def _frame(header: bytes) -> _Frame | None:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or rate == 3 or bitrate in (0, 15):
        return None
    full = version == 3
    bits, hertz = _TABLES[full, layer][bitrate - 1] * 1000, _RATES[version][rate]
    kind = (header[1] & 0xFE, header[2] & 0x0C)
    if layer == 1:
        return _Frame(kind, (12 * bits // hertz + padding) * 4, 384, 0)
    samples = 1152 if full or layer == 2 else 576
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if full else (9 if mono else 17)
    return _Frame(kind, samples // 8 * bits // hertz + padding, samples, 4 + side if layer == 3 else 0)


def _count_frame(head: bytes, count: int) -> bytes:
    """Return a Xing frame like the first frame that holds only a count."""
    for bitrate in range(1, 15):
        # Without checksum and padding.
        header = bytes([head[0], head[1] | 1, bitrate << 4 | head[2] & 0x0C, head[3]])
        frame = _frame(header)
        if frame is not None and frame.size >= frame.count_at + 12:
            content = header + bytes(frame.count_at - 4) + b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
            return content.ljust(frame.size, b"\0")
    raise AssertionError("the largest frame of every kind has room")
