"""Kinds of files that are not readable recordings, by their first bytes, and the remedy."""

from __future__ import annotations

from typing import Final

from infra.foreign_file import FETCH_AGAIN, Beginnings, FileKind, beginning_of_text, foreign_file, recognised
from task_specs.audio_container.byte_view import ByteView
from task_specs.audio_container.unusable import CONVERT

_HEAD_BYTES: Final = 4096
_SHORTEN: Final = "convert it, as with: sph2pipe -f wav OLD NEW.wav"

_BEGINNINGS: Final[Beginnings] = (
    (rb".{4}(ftypqt|moov)", "a QuickTime film", CONVERT),
    (rb".{4}ftyp3g", "3GP, a film or recording of a mobile phone", CONVERT),
    (rb".{4}ftyp", "MP4, such as M4A with AAC", CONVERT),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC (ADTS)", CONVERT),
    (rb"ADIF", "AAC (ADIF)", CONVERT),
    (rb"\x1a\x45\xdf\xa3", "WebM or Matroska", CONVERT),
    (rb"#!AMR", "AMR, the speech codec of mobile phones", CONVERT),
    (rb"\x02?#!SILK", "SILK, a codec of voice messages", CONVERT),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMA)", CONVERT),
    (rb"MAC ", "Monkey's Audio", CONVERT),
    (rb"wvpk", "WavPack", CONVERT),
    (rb"TTA1", "True Audio", CONVERT),
    (rb"MPCK|MP\+", "Musepack", CONVERT),
    (rb"\.RMF|\.ra\xfd", "RealAudio or RealMedia", CONVERT),
    (rb"DSD |FRM8", "DSD", CONVERT),
    (rb"FLV\x01", "Flash video", CONVERT),
    (rb"Creative Voice File", "a Creative voice file", CONVERT),
    (rb"RIFF.{4}AVI ", "an AVI film", CONVERT),
    (rb"MThd", "MIDI, which holds notes and no sound", "record it"),
    (rb"ajkg", "compressed with Shorten", _SHORTEN),
    (rb"NIST_1A.*shorten", "a NIST SPHERE file compressed with Shorten", _SHORTEN),
    (rb"#EXTM3U", "a playlist", "fetch the recordings that it lists"),
    (rb"\x93NUMPY", "a NumPy array", "write it as a WAV file"),
    (rb"MATLAB 5\.0", "a MATLAB file", "write its samples as a WAV file"),
    (rb"PAR1", "a Parquet table", "name it as the table, not as a recording"),
)


def what_it_is(view: ByteView) -> str | None:
    """Return the kind of a file and the remedy; ``None`` if it may be a recording or is unknown."""
    head = view.at(0, _HEAD_BYTES)
    kind = recognised(head, _BEGINNINGS) or foreign_file(head) or _text(head)
    return kind and f"it is {kind.what}; {kind.remedy}"


def _text(head: bytes) -> FileKind | None:
    text = beginning_of_text(head)
    if text is None:
        return None
    if text.lstrip().startswith(("{", "[")):
        return FileKind("a JSON document", FETCH_AGAIN)
    return FileKind(f"text, which begins with {' '.join(text[:40].split())!a}", FETCH_AGAIN)
