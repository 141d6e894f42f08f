"""What stands in place of a file is named alike, whatever the file was to be."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.foreign_file import beginning_of_text, foreign_file


def _tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a.wav"))
    return buffer.getvalue()


def _zip() -> bytes:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer"),
        (b"\xef\xbb\xbfversion https://hawser.github.com/spec/v1\n", "a git-LFS pointer"),
        (b"/annex/objects/SHA256E-s4--0.wav\n", "a git-annex pointer"),
        (b"\n <!DocType HTML PUBLIC>", "an HTML page"),
        (b"<head><title>302 \xe9", "an HTML page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", "an XML document"),
        (_zip(), "a ZIP archive"),
        (_tar("w"), "a tar archive"),
        (_tar("w:gz"), "a tar archive"),
        (gzip.compress(b"path"), "compressed with gzip"),
        (gzip.compress(b"path")[:12], "compressed with gzip"),
        (b"\x1f\x8b\x08" + bytes(60), "compressed with gzip and damaged"),
        (bz2.compress(b"path"), "compressed with bzip2"),
        (bz2.compress(b""), "compressed with bzip2"),
        (lzma.compress(b"path"), "compressed with xz"),
        (b"\x28\xb5\x2f\xfd\x20", "compressed with zstd"),
        (b"7z\xbc\xaf\x27\x1c\x00", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"RIFF\x0a\x00\x00\x00WEBP", "a picture"),
        (b"\x00\x05\x16\x07\x00\x02", "what macOS keeps beside a file (AppleDouble)"),
        (bytes(600), "a file of zeros"),
    ],
)
def test_what_stands_in_place_of_a_file(head: bytes, what: str) -> None:
    found = foreign_file(head)
    assert found is not None
    assert found.what == what
    assert found.remedy


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"path,label\na.wav,x\n",
        b"BZhang,x\n",
        b"<unk> 5\n",
        b"headway\n",
        bytes(600) + b"x",
        b"RIFF\0\0\0\0WAVE",
    ],
)
def test_what_a_file_may_be_is_left_to_its_reader(head: bytes) -> None:
    assert foreign_file(head) is None


@given(st.binary(max_size=600))
def test_no_beginning_is_an_error(head: bytes) -> None:
    foreign_file(b"\x1f\x8b\x08\x00" + head)
    foreign_file(head)


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=30), st.integers(0, 3))
def test_text_may_be_cut_within_a_character(text: str, cut: int) -> None:
    data = ("\ufeff" + text + "\n😀").encode()
    assert beginning_of_text(data[: len(data) - cut]) in (text + "\n", text + "\n😀")
    assert beginning_of_text(data + b"\x1b[2J") is None
