"""What a file really is that was given as something else, told by how it begins."""

from __future__ import annotations

import codecs
import io
import re
import zlib
from typing import Final, NamedTuple

from workers.pickled_names import pickled_names

HEAD: Final = 1 << 16
"""Bytes of the beginning that are looked at."""
ARRAY: Final = "an array of numpy"
KMEANS: Final = "a k-means of scikit-learn"
SAFETENSORS: Final = "a safetensors file"
CHECKPOINT: Final = "a checkpoint of torch.save"
DICTIONARY: Final = "a dictionary of fairseq"
JSON: Final = "a JSON document"
TEXT: Final = "a text"
_TAR_MARK, _TAR_BLOCK = slice(257, 262), 512
_DICTIONARY_LINE = re.compile(r"\S+ [0-9]+( #fairseq:overwrite)?\r?")
_LINES = 20
_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[\w.]+\n\w+\n|\(")
# fmt: off
_BEGINNINGS: Final = (
    (b"version https://git-lfs", "a git-LFS pointer", "run 'git lfs pull' where it comes from"),
    (b"\x93NUMPY", ARRAY, "give centroids with --kmeans and edges of F0 bins with --f0-bins, as .npy"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "write it again with joblib.dump(..., compress=0)"),
    (b"BZh", "compressed with bzip2", "unpack it with 'bunzip2'"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it with 'unxz'"),
    (b"\x89HDF", "an HDF5 file", ""),
    (b"RIFF", "a recording", ""),
    (b"fLaC", "a recording", ""),
    (b"OggS", "a recording", ""),
    (b"IxF", "an index of faiss", "give its centroids as .npy"),
    (b"IxM", "an index of faiss", "give its centroids as .npy"),
)
# fmt: on
_CHECKPOINT_REMEDY = "give a unit LM with --lm, a speech encoder with --hubert"
_WEB_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml|head|body)", re.IGNORECASE)


class FileKind(NamedTuple):
    """What a file is, and what helps.

    Attributes:
        what: with its article.
        remedy: what to do with it; empty where nothing is known but to name another file.
    """

    what: str
    remedy: str


def file_kind(data: bytes) -> FileKind | None:
    """The kind of a file that begins with these bytes, at least ``HEAD`` of them or all; ``None`` if it is unknown."""
    head = data[:HEAD]
    if not head.strip(b"\x00"):
        return FileKind("an empty file" if not head else "a file of zeros", "fetch the file again")
    for beginning, what, remedy in _BEGINNINGS:
        if head.startswith(beginning):
            return FileKind(what, remedy)
    if _WEB_PAGE.match(head):
        return FileKind("a web page", "fetch the file itself, by the link of its download")
    if head[_TAR_MARK] == b"ustar":
        return FileKind("a packed archive", "unpack it with 'tar xf' and name the file in it")
    if head.startswith(b"\x1f\x8b"):
        return _gzipped(head)
    if head.startswith(b"PK\x03\x04"):
        return _zipped(head)
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return FileKind(SAFETENSORS, "")
    if _PICKLE.match(head):
        return _pickled(head)
    return _text(head)


def _gzipped(head: bytes) -> FileKind:
    try:
        first = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _TAR_BLOCK)
    except zlib.error:
        return FileKind("a damaged file of gzip", "fetch the file again")
    if first[_TAR_MARK] == b"ustar":
        return FileKind("a packed archive", "unpack it with 'tar xzf' and name the file in it")
    return FileKind("compressed with gzip", "unpack it with 'gunzip'")


def _zipped(head: bytes) -> FileKind:
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if first.endswith(b".npy"):
        return FileKind("an .npz of numpy", "save its array alone, as .npy")
    if first.rpartition(b"/")[2] == b"data.pkl":
        return FileKind(CHECKPOINT, _CHECKPOINT_REMEDY)
    return FileKind("a zip archive", "unpack it and name the file in it")


def _pickled(head: bytes) -> FileKind | None:
    # Before torch 1.6 a checkpoint began with a number, pickled.
    if head[2:3] == b"\x8a" and head[3:4] == b"\x0a":
        return FileKind(CHECKPOINT, _CHECKPOINT_REMEDY)
    names = pickled_names(io.BytesIO(head))
    if any("KMeans" in name and name.startswith("sklearn.") for name in names):
        return FileKind(KMEANS, "give it with --kmeans")
    learnt = next((name for name in names if name.startswith("sklearn.")), None)
    return FileKind(f"a {learnt.rpartition('.')[2]} of scikit-learn", "") if learnt else None


def _text(head: bytes) -> FileKind | None:
    try:
        # An incremental decoder, for the last character may be cut.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return None
    if not text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return None
    if text.lstrip().startswith(("{", "[")):
        return FileKind(JSON, "")
    lines = text.strip().split("\n")[:_LINES]
    if all(_DICTIONARY_LINE.fullmatch(line) for line in lines):
        return FileKind(DICTIONARY, "give it with --dict")
    return FileKind(TEXT, "")
