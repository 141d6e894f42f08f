"""Tags of music players before and after a recording."""

from __future__ import annotations

from task_specs.audio_container.byte_view import ByteView

_MOST_TAGS = 100
_ID3V1_BYTES = 128
_APE_FOOTER_BYTES = 32


def after_leading_tags(view: ByteView) -> int:
    """Return where the recording begins, after all ID3v2 tags. https://id3.org/id3v2.4.0-structure"""
    place = 0
    for _ in range(_MOST_TAGS):
        head = view.at(place, 10)
        if head[:3] != b"ID3" or len(head) < 10 or max(head[6:]) >= 0x80:
            break
        footer = 10 if head[5] & 0x10 else 0
        place += 10 + sum(part << shift for part, shift in zip(head[6:], (21, 14, 7, 0), strict=True)) + footer
    return min(place, view.size)


def before_trailing_tags(view: ByteView) -> int:
    """Return where the recording ends, before ID3v1 and APE tags. https://wiki.hydrogenaudio.org/?title=APEv2"""
    end = view.size
    if end > _ID3V1_BYTES and view.at(end - _ID3V1_BYTES, 3) == b"TAG":
        end -= _ID3V1_BYTES
    footer = view.at(end - _APE_FOOTER_BYTES, _APE_FOOTER_BYTES) if end > _APE_FOOTER_BYTES else b""
    if footer[:8] == b"APETAGEX":
        size = int.from_bytes(footer[12:16], "little")
        header = _APE_FOOTER_BYTES if footer[23] & 0x80 else 0
        end = max(0, end - size - header)
    return end
