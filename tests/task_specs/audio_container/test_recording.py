"""What the bytes of recordings are found to hold, whatever their headers say."""

from __future__ import annotations

import gzip
import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from task_specs.audio_container.recording import open_recording
from task_specs.audio_container.unusable import UnusableAudio
from tests.fixtures.damaged_audio import (
    ID3V1,
    ID3V2,
    ogg_page,
    ogg_pages,
    put,
    with_data_size,
    with_total,
    without_count,
)
from tests.fixtures.tones import audio_bytes, babble

RATE = 16_000
WAVE = babble(0, 1.0)


def _coded(format_: str, subtype: str | None = None, *, channels: int = 1, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([WAVE] * channels, axis=1), rate, format=format_, subtype=subtype)
    return buffer.getvalue()


WAV, FLAC, MP3 = _coded("WAV"), _coded("FLAC"), _coded("MP3")
VORBIS, OPUS, RF64 = _coded("OGG", "VORBIS"), _coded("OGG", "OPUS"), _coded("RF64")


def held(data: bytes) -> int:
    """Samples that decoding finds."""
    with open_recording(io.BytesIO(data)) as recording:
        count = 0
        while block := len(recording.file.read(5_000, dtype="float32", always_2d=True)):
            count += block
        return count


def refusal(data: bytes) -> str:
    """Why a file is not opened."""
    with pytest.raises(UnusableAudio) as caught, open_recording(io.BytesIO(data)):
        pass
    return str(caught.value)


_LISTED = b"LIST\x04\x00\x00\x00abcd"
_AFTER_FMT = WAV.index(b"data")


@pytest.mark.parametrize(
    "data",
    [
        with_data_size(WAV, 0xFFFFFFFF, riff=0xFFFFFFFF),
        with_data_size(WAV, 0, riff=0),
        with_data_size(WAV, 0, riff=36),
        with_data_size(WAV, 0x7FFFF000, riff=0x7FFFF024),
        with_data_size(WAV, 0x7FFFFFFF - 36, riff=0x7FFFFFFF),
        with_data_size(WAV, 0x80000000, riff=0x80000024),
        with_data_size(WAV, len(WAV) - 8),
        put(put(RF64, 20, bytes(8)), 28, bytes(8)),
        put(put(RF64, 20, b"\xff" * 8), 28, b"\xff" * 8),
        b"BW64" + RF64[4:],
        WAV[:_AFTER_FMT] + b"junk\x03\x00\x00\x00abc" + WAV[_AFTER_FMT:],
        WAV[:_AFTER_FMT] + b"junk\x03\x00\x00\x00abc\x00" + WAV[_AFTER_FMT:],
        WAV + _LISTED[:-2],
        WAV + bytes(5_000),
        WAV + b"LIST" + struct.pack("<I", 3_000) + b"INFO" + bytes(range(250)) * 12,
        WAV + b"Exported by a program. " * 100,
        ID3V2 + WAV,
        ID3V2 + ID3V2 + FLAC,
        with_total(FLAC, 0),
        with_total(FLAC, 0) + ID3V1,
        ID3V2 + VORBIS,
        ID3V2 + OPUS + ID3V1,
        put(MP3, MP3.index(b"Xing") + 8, (3).to_bytes(4, "big")),
        put(MP3, MP3.index(b"Xing") + 8, bytes(4)),
        bytes(500) + MP3,
        ID3V2 + ID3V2 + MP3 + ID3V1,
    ],
)
def test_what_is_whole_is_read_whole(data: bytes) -> None:
    assert held(data) == len(WAVE)


_PAGES = ogg_pages(VORBIS)
_OPUS_PAGES = ogg_pages(OPUS)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (WAV[:-2], "promises 16000 samples but 15999 follow; fetch"),
        (WAV[: len(WAV) // 2], r"promises 16000 samples but \d+ follow; fetch"),
        (WAV[:30], "ends before its samples begin|not a WAV"),
        (_coded("WAV", "GSM610")[:-100], r"promises \d+ samples but \d+ follow; fetch"),
        (_coded("WAV", "IMA_ADPCM")[:-600], r"promises \d+ samples but \d+ follow; fetch"),
        (_coded("WAVEX", "FLOAT")[:-5_000], r"promises 16000 samples but \d+ follow; fetch"),
        (RF64[:-4_000], "promises 16000 samples but 14000 follow; fetch"),
        (_coded("AIFF")[:-1_000], "promises .* follow; fetch"),
        (_coded("AU")[:-1_000], "promises .* follow; fetch"),
        (_coded("W64")[:-1_000], "promises .* follow; fetch"),
        (_coded("NIST")[:-1_000], "promises 16000 samples but 15500 follow; fetch"),
        (with_total(FLAC, 2**36 - 1), "more than its .* bytes can hold; fetch"),
        (FLAC[:30], "ends within its header; fetch"),
        (MP3[: len(MP3) // 2], r"promises \d+ samples but \d+ follow; fetch"),
        (without_count(MP3)[:-20], "its last frame, after .*, is not whole; fetch"),
        (b"".join(_PAGES[:-1]), "not marked as its last; fetch"),
        (b"".join(_PAGES[:2]), "not marked as its last; fetch"),
        (VORBIS[:-50], r"ends within page \d+; fetch"),
        (b"".join(_OPUS_PAGES[:-1]), "not marked as its last; fetch"),
        (b"".join([*_PAGES[:2], *_PAGES[3:]]), "pages of it are missing after number 1; fetch"),
        (put(VORBIS, len(VORBIS) - 40, b"\xa5\x5a"), r"page \d+ is damaged; fetch"),
        (with_data_size(WAV, 8_000), "more than the 4000 samples that its header promises; .*ffmpeg"),
        (with_data_size(WAV, 8_001, riff=8_037), "more than the 4000 samples"),
        (with_data_size(WAV, 20_000, riff=20_036), "more than the 10000 samples"),
        (WAV + WAV, "several recordings one after the other; split it"),
        (VORBIS + VORBIS, "several recordings one after the other; split it"),
        (OPUS + VORBIS, "several recordings one after the other; split it"),
        (b"".join([*_PAGES[:-1], ogg_page(_PAGES[-1], granule=5)]), "runs backwards"),
        (ID3V2, "holds a tag and no sound; fetch"),
        (b"", "no bytes"),
    ],
)
def test_what_breaks_off_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableAudio, match=reason):
        held(data)


@pytest.mark.parametrize("rate", [0, 1, 7, 8, 999, 768_001, 10_000_019])
@pytest.mark.parametrize("format_", ["WAV", "FLAC"])
def test_sample_rates_have_a_range(format_: str, rate: int) -> None:
    data = put(WAV, 24, struct.pack("<I", rate))
    if format_ == "FLAC":
        packed = int.from_bytes(FLAC[18:26], "big") & (1 << 44) - 1 | min(rate, (1 << 20) - 1) << 44
        data = put(FLAC, 18, packed.to_bytes(8, "big"))
    # libsndfile itself refuses 0.
    assert "samples per second, but only 1000 to 768000 are read" in refusal(data) or rate == 0


@pytest.mark.parametrize("channels", [129, 256, 1024])
def test_channels_have_a_range(channels: int) -> None:
    wave = np.zeros((50, channels), np.float32)
    assert f"{channels} channels, but only 1 to 128 are read" in refusal(audio_bytes(wave))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a git-LFS pointer; run 'git lfs",
        ),
        (b"\n <!DOCTYPE html><html>404", "an HTML page; fetch"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "an XML document; fetch"),
        (b'{"error": "rate limit"}', "a JSON document.*; fetch"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00", "MP4, such as M4A.*ffmpeg"),
        (b"\x00\x00\x00\x18ftyp3gp4\x00\x00\x00\x00", "3GP.*ffmpeg"),
        (b"\xff\xf1\x50\x80" * 50, "AAC .*ffmpeg"),
        (b"\x1a\x45\xdf\xa3" + bytes(60), "WebM or Matroska.*ffmpeg"),
        (b"#!AMR\n" + bytes(60), "AMR.*ffmpeg"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(60), "Windows Media.*ffmpeg"),
        (b"RIFF\x00\x01\x00\x00AVI LIST", "an AVI film.*ffmpeg"),
        (b"PK\x03\x04" + bytes(60), "a ZIP archive; unpack it"),
        (gzip.compress(WAV), "compressed with gzip; unpack it with 'gunzip"),
        (bytes(257) + b"ustar" + bytes(60), "a tar archive; unpack it"),
        (bytes(5_000), "a file of zeros; fetch"),
        (b"Not found\n", "text, which begins with 'Not found'; fetch"),
        (b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n", "Shorten.*sph2pipe"),
        (ID3V2 + b"\x00\x00\x00\x20ftypM4A ", "MP4"),
        (ogg_page(put(_PAGES[0], 28, b"Speex   ")), "Speex, which is not read.*ffmpeg"),
        (_coded("VOC"), "a Creative voice file.*ffmpeg"),
        (_coded("MAT5"), "a MATLAB file"),
        (_coded("SVX"), "its format is SVX, which is not read; convert"),
        (bytes(range(256)) * 20, "begins like none of them.*ffmpeg"),
    ],
)
def test_what_is_no_recording_is_called_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(UnusableAudio, match=words):
        held(data)


@settings(max_examples=60)
@given(cut=st.integers(1, 10**6), of=st.sampled_from([WAV, FLAC, VORBIS, OPUS, MP3, RF64, with_data_size(WAV, 32_000)]))
def test_no_part_of_a_recording_passes_for_the_whole(cut: int, of: bytes) -> None:
    part = of[: cut % len(of)]
    try:
        count = held(part)
    except (UnusableAudio, soundfile.LibsndfileError):
        return
    with open_recording(io.BytesIO(part)) as recording:
        # Decoding says so of FLAC, whose frames nobody counts, and an MP3 may lack its padding.
        assert recording.frames == len(WAVE)
        assert recording.file.format == "FLAC" or count >= len(WAVE) - 1152
