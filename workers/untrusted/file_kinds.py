"""What a file really is that was given as something else, told by how it begins."""

from __future__ import annotations

import io
import re
from typing import Final

from infra.foreign_file import FETCH_AGAIN, Beginnings, FileKind, beginning_of_text, foreign_file, recognised
from workers.untrusted.pickles import pickled_names

HEAD: Final = 1 << 16
"""Bytes of the beginning that are looked at."""
ARRAY: Final = "a NumPy array"
KMEANS: Final = "a k-means of scikit-learn"
SAFETENSORS: Final = "a safetensors file"
CHECKPOINT: Final = "a checkpoint of torch.save"
DICTIONARY: Final = "a dictionary of fairseq"
JSON: Final = "a JSON document"
TEXT: Final = "a text"
_BEGINNINGS: Final[Beginnings] = (
    (rb"\Z", "an empty file", FETCH_AGAIN),
    (rb"\x93NUMPY", ARRAY, "give centroids with --kmeans and edges of F0 bins with --f0-bins, as .npy"),
    (rb"\x04\x22\x4d\x18", "compressed with lz4", "write it again with joblib.dump(..., compress=0)"),
    (rb"\x89HDF", "an HDF5 file", ""),
    (rb"RIFF.{4}WAVE|fLaC|OggS", "a recording", ""),
    (rb"Ix[FM]", "an index of faiss", "give its centroids as .npy"),
)
_CHECKPOINT_REMEDY: Final = "give a unit LM with --lm, a speech encoder with --hubert"
_DICTIONARY_LINE: Final = re.compile(r"\S+ [0-9]+( #fairseq:overwrite)?\r?")
_LINES: Final = 20
_PICKLE: Final = re.compile(rb"\x80[\x02-\x05]|c[\w.]+\n\w+\n|\(")


def file_kind(data: bytes) -> FileKind | None:
    """The kind of a file that begins with these bytes, at least ``HEAD`` of them or all; ``None`` if it is unknown."""
    head = data[:HEAD]
    if kind := recognised(head, _BEGINNINGS) or _zipped(head) or foreign_file(head):
        return kind
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return FileKind(SAFETENSORS, "")
    if _PICKLE.match(head):
        return _pickled(head)
    return _text(head)


def _zipped(head: bytes) -> FileKind | None:
    if not head.startswith(b"PK\x03\x04"):
        return None
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if first.endswith(b".npy"):
        return FileKind("an .npz of NumPy", "save its array alone, as .npy")
    if first.rpartition(b"/")[2] == b"data.pkl":
        return FileKind(CHECKPOINT, _CHECKPOINT_REMEDY)
    return None


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
    text = beginning_of_text(head)
    if text is None:
        return None
    if text.lstrip().startswith(("{", "[")):
        return FileKind(JSON, "")
    lines = text.strip().split("\n")[:_LINES]
    if all(_DICTIONARY_LINE.fullmatch(line) for line in lines):
        return FileKind(DICTIONARY, "give it with --dict")
    return FileKind(TEXT, "")
