"""FLAC files. https://www.rfc-editor.org/rfc/rfc9639"""

from __future__ import annotations

from typing import Final

from infra.foreign_file import FETCH_AGAIN
from task_specs.audio_container.byte_view import ByteView
from task_specs.audio_container.tags import before_trailing_tags
from task_specs.audio_container.unusable import UnusableAudio

MAGIC: Final = b"fLaC"
_STREAMINFO_AT, _STREAMINFO_BYTES = 8, 34
_PACKED_AT: Final = _STREAMINFO_AT + 10
"""Position of the rate (20 bits), channels (3), sample size (5) and number of samples (36)."""
_TOTAL: Final = (1 << 36) - 1
_SHORTEST_FRAME: Final = 10


def mended(view: ByteView) -> tuple[ByteView, int | None]:
    """Return the file without its number of samples, so that it is read to its end, and that number; ``None`` if it was
    unknown when the header was written, as in a pipe.

    Raises:
        UnusableAudio: the header is cut off, or promises more than the bytes can hold.
    """
    info = view.at(_STREAMINFO_AT, _STREAMINFO_BYTES)
    if len(info) < _STREAMINFO_BYTES:
        raise UnusableAudio("unreadable", f"it ends within its header; {FETCH_AGAIN}")
    packed = int.from_bytes(info[10:18], "big")
    total = packed & _TOTAL
    if not total:
        # Decoders take bytes after the last frame for a broken frame.
        return view.part(0, before_trailing_tags(view)), None
    most = (view.size // _SHORTEST_FRAME + 1) * int.from_bytes(info[2:4], "big")
    if total > most:
        detail = f"its header promises {total} samples, more than its {view.size} bytes can hold; {FETCH_AGAIN}"
        raise UnusableAudio("unreadable", detail)
    return view.with_bytes({_PACKED_AT: (packed - total).to_bytes(8, "big")}), total


def holds_another(view: ByteView) -> bool:
    """Return whether another FLAC file begins in this one."""
    return MAGIC + bytes([0, 0, 0, _STREAMINFO_BYTES]) in view.at(len(MAGIC), view.size)
