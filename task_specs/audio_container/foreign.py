"""What a file is that is no recording, by how it begins, and what to do about it."""

from __future__ import annotations

import codecs
from typing import Final

from task_specs.audio_container.byte_view import ByteView
from task_specs.audio_container.unusable import CONVERT, FETCH_AGAIN

_HEAD_BYTES: Final = 4096
_UNPACK: Final = "unpack it"
_SHORTEN: Final = "convert it, as with: sph2pipe -f wav OLD NEW.wav"

_BEGINNINGS: Final[tuple[tuple[int, bytes, str, str], ...]] = (
    (0, b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS, not the file itself", "run: git lfs pull"),
    (0, b"version https://hawser.github.com/spec/", "a pointer of Git LFS, not the file itself", "run: git lfs pull"),
    (0, b"/annex/objects/", "a pointer of git-annex, not the file itself", "run: git annex get FILE"),
    (4, b"ftypqt", "a QuickTime film", CONVERT),
    (4, b"ftyp3g", "3GP, a film or recording of a mobile phone", CONVERT),
    (4, b"ftyp", "MP4, such as M4A with AAC", CONVERT),
    (4, b"moov", "a QuickTime film", CONVERT),
    (0, b"\xff\xf1", "AAC (ADTS)", CONVERT),
    (0, b"\xff\xf9", "AAC (ADTS)", CONVERT),
    (0, b"\xff\xf0", "AAC (ADTS)", CONVERT),
    (0, b"\xff\xf8", "AAC (ADTS)", CONVERT),
    (0, b"ADIF", "AAC (ADIF)", CONVERT),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska", CONVERT),
    (0, b"#!AMR", "AMR, the speech codec of mobile phones", CONVERT),
    (0, b"#!SILK", "SILK, a codec of voice messages", CONVERT),
    (0, b"\x02#!SILK", "SILK, a codec of voice messages", CONVERT),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMA)", CONVERT),
    (0, b"MAC ", "Monkey's Audio", CONVERT),
    (0, b"wvpk", "WavPack", CONVERT),
    (0, b"TTA1", "True Audio", CONVERT),
    (0, b"MPCK", "Musepack", CONVERT),
    (0, b"MP+", "Musepack", CONVERT),
    (0, b".RMF", "RealMedia", CONVERT),
    (0, b".ra\xfd", "RealAudio", CONVERT),
    (0, b"DSD ", "DSD", CONVERT),
    (0, b"FRM8", "DSD", CONVERT),
    (0, b"FLV\x01", "Flash video", CONVERT),
    (0, b"Creative Voice File", "a Creative voice file", CONVERT),
    (0, b"MThd", "MIDI, which holds notes and no sound", "record it"),
    (8, b"AVI ", "an AVI film", CONVERT),
    (8, b"WEBP", "a WebP picture", FETCH_AGAIN),
    (0, b"ajkg", "compressed with Shorten", _SHORTEN),
    (0, b"#EXTM3U", "a playlist", "fetch the recordings that it lists"),
    (0, b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (0, b"PK\x05\x06", "a ZIP archive", _UNPACK),
    (0, b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"%PDF", "a PDF document", FETCH_AGAIN),
    (0, b"\x89PNG", "a PNG picture", FETCH_AGAIN),
    (0, b"\xff\xd8\xff", "a JPEG picture", FETCH_AGAIN),
    (0, b"GIF8", "a GIF picture", FETCH_AGAIN),
    (0, b"\x93NUMPY", "a NumPy array", "write it as a WAV file"),
    (0, b"PAR1", "a Parquet table", "name it as the table, not as a recording"),
    (0, b"MATLAB 5.0", "a MATLAB file", "write its samples as a WAV file"),
    (0, b"\x00\x05\x16\x07", "what macOS keeps beside a file (AppleDouble), not the file itself", "remove it"),
)
_TEXTS: Final = (
    (("<!doctype html", "<html", "<head", "<body"), "an HTML page, such as one that says an error or asks to log in"),
    (("<",), "an XML document, such as a server's error"),
    (("{", "["), "a JSON document, such as a server's error"),
)


def what_it_is(view: ByteView) -> str | None:
    """What a file is, and the remedy; ``None`` where it may be a recording, or nobody knows."""
    head = view.at(0, _HEAD_BYTES)
    for place, beginning, name, remedy in _BEGINNINGS:
        if head.startswith(beginning, place):
            return f"it is {name}; {remedy}"
    if head.startswith(b"NIST_1A") and b"shorten" in head:
        return f"it is a NIST SPHERE file compressed with Shorten; {_SHORTEN}"
    if not head.strip(b"\0"):
        return f"it holds nothing but zero bytes, or begins with {len(head)} of them; {FETCH_AGAIN}"
    return _text(head)


def _text(head: bytes) -> str | None:
    try:
        # A character may be cut at the end of what was read.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return None
    begin = text.lstrip()[:200].lower()
    for beginnings, name in _TEXTS:
        if begin.startswith(beginnings):
            return f"it is {name}; {FETCH_AGAIN}"
    if all(character.isprintable() or character.isspace() for character in text):
        return f"it is text, which begins with {' '.join(text[:40].split())!a}; {FETCH_AGAIN}"
    return None
