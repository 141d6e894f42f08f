"""Ogg files of Vorbis, Opus or FLAC. https://www.rfc-editor.org/rfc/rfc3533"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from infra.foreign_file import FETCH_AGAIN
from task_specs.audio_container.byte_view import ByteView
from task_specs.audio_container.unusable import CONVERT, UnusableAudio, several_in_turn

MAGIC: Final = b"OggS"
_CODECS: Final = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC")
_UNREAD: Final = {b"Speex   ": "Speex", b"\x80theora": "video (Theora)", b"fishead": "an index (Skeleton)"}
_FIRST, _LAST = 0x02, 0x04
_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Page(NamedTuple):
    flags: int
    granule: int
    stream: bytes
    number: int
    content: bytes


def check(view: ByteView) -> None:
    """Check that an Ogg file is one complete stream of sound.

    Decoders silently skip damaged and missing pages, and stop at the end of the first stream or of the bytes.

    Raises:
        UnusableAudio: it is not.
    """
    stream, codecs = b"", []
    last: _Page | None = None
    others_began = False
    for page in _pages(view):
        if page.flags & _FIRST:
            if others_began:
                raise several_in_turn()
            codecs.append(page.content)
            if page.content.startswith(_CODECS):
                if stream:
                    raise UnusableAudio("unreadable", f"it holds several recordings at once; {CONVERT}")
                stream = page.stream
        else:
            others_began = True
        if page.stream != stream:
            continue
        if last is not None and page.number != last.number + 1 & 0xFFFFFFFF:
            raise UnusableAudio("unreadable", f"pages of it are missing after number {last.number}; {FETCH_AGAIN}")
        if last is not None and 0 <= page.granule < last.granule:
            raise UnusableAudio("unreadable", f"its time runs backwards at page {page.number}; write the file again")
        last = page._replace(granule=max(page.granule, -1 if last is None else last.granule), content=b"")
    if last is None:
        names = [name for start, name in _UNREAD.items() for content in codecs if content.startswith(start)]
        raise UnusableAudio("unreadable", f"Ogg with {' and '.join(names) or 'no sound'}, which is not read; {CONVERT}")
    if not last.flags & _LAST:
        detail = f"it ends with page {last.number}, which is not marked as its last; {FETCH_AGAIN}, or {CONVERT}"
        raise UnusableAudio("unreadable", detail)


def _pages(view: ByteView) -> Iterator[_Page]:
    """Yield the pages, up to the first bytes that are not a page."""
    place, number = 0, 0
    while (head := view.at(place, 27))[:4] == MAGIC:
        number += 1
        table = view.at(place + 27, head[26] if len(head) == 27 else 0)
        size = 27 + len(table) + sum(table)
        page = view.at(place, size)
        if len(head) < 27 or len(table) < head[26] or len(page) < size:
            raise UnusableAudio("unreadable", f"it ends within page {number}; {FETCH_AGAIN}")
        if page[22:26] != _checksum(page[:22] + bytes(4) + page[26:]):
            raise UnusableAudio("unreadable", f"page {number} is damaged; {FETCH_AGAIN}")
        granule = int.from_bytes(page[6:14], "little", signed=True)
        yield _Page(page[5], granule, page[14:18], int.from_bytes(page[18:22], "little"), page[27 + len(table) :][:8])
        place += size


def _checksum(page: bytes) -> bytes:
    """Return Ogg's CRC-32, which is zlib's with reversed bits and without inversions."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_MIRRORED)
