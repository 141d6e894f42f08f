"""Files given in place of others are named for what they are, whichever option they were given to."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
import safetensors.numpy
import sklearn.cluster
import torch

from infra.errors import BackboneError, BundleError
from workers.fairseq.checkpoint import read_checkpoint
from workers.interop.centroids import read_centroids
from workers.interop.prompt_labels import read_labels
from workers.unit_lm.gslm.dictionary import read_dictionary
from workers.unit_lm.pgslm.f0_bins import read_f0_edges
from workers.untrusted.file_kinds import file_kind


def _bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _estimator() -> sklearn.cluster.KMeans:
    model = sklearn.cluster.KMeans(2)
    model.cluster_centers_ = np.zeros((2, 3), np.float32)
    return model


def _packed(mode: str) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
            entry = tarfile.TarInfo("hubert100_lm/checkpoint_best.pt")
            entry.size = 2000
            archive.addfile(entry, io.BytesIO(bytes(2000)))

    return _bytes(write)


def _zipped(name: str) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, b"x")

    return _bytes(write)


CHECKPOINT = _bytes(lambda buffer: torch.save({"model": {"w": torch.zeros(2)}}, buffer))
LEGACY = _bytes(
    lambda buffer: torch.save({"model": {"w": torch.zeros(2)}}, buffer, _use_new_zipfile_serialization=False)
)
FILES = {
    "an HTML page": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "a git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    "a tar archive": _packed("w:gz"),
    "a k-means of scikit-learn": _bytes(lambda buffer: joblib.dump(_estimator(), buffer)),
    "a checkpoint of torch.save": CHECKPOINT,
    "a dictionary of fairseq": b"0 5\n1 3\nmadeupword0000 0\n",
    "a safetensors file": safetensors.numpy.save({"w": np.zeros(2, np.float32)}),
    "a NumPy array": _bytes(lambda buffer: np.save(buffer, np.zeros((2, 3), np.float32))),
    "an .npz of NumPy": _bytes(lambda buffer: np.savez(buffer, centroids=np.zeros((2, 3)))),
    "a recording": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "an empty file": b"",
    "a file of zeros": bytes(5000),
    "a JSON document": b'{"yes": "5"}',
}


@pytest.mark.parametrize("what", FILES)
def test_what_a_file_is(what: str) -> None:
    found = file_kind(FILES[what])
    assert found is not None
    assert found.what == what


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (LEGACY, "a checkpoint of torch.save"),
        (_packed("w"), "a tar archive"),
        (gzip.compress(b"0 5\n"), "compressed with gzip"),
        (pickle.dumps(_estimator(), protocol=0), "a k-means of scikit-learn"),
        (_bytes(lambda buffer: joblib.dump(sklearn.cluster.DBSCAN(), buffer)), "a DBSCAN of scikit-learn"),
        (_zipped("README"), "a ZIP archive"),
        (b"IxF2" + bytes(40), "an index of faiss"),
        ("žodis\n".encode() * 20_000, "a text"),
        (b"\xef\xbb\xbf[1]", "a JSON document"),
    ],
)
def test_what_other_files_are(content: bytes, what: str) -> None:
    found = file_kind(content)
    assert found is not None
    assert found.what == what


@pytest.mark.parametrize("content", [b"\x80\x04K\x01.", b"\xff" * 100, b"\x80\x02\x8a", b"(", b"a\x1b[2J", b"\x1f\x8b"])
def test_what_is_unknown_or_broken_ends_in_no_error(content: bytes) -> None:
    file_kind(content)


@pytest.mark.parametrize("what", FILES)
def test_a_file_in_place_of_another_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "given"
    path.write_bytes(FILES[what])
    readers = (
        (read_checkpoint, "a checkpoint", {"a checkpoint of torch.save"}),
        (read_dictionary, "a dictionary of fairseq", {"a dictionary of fairseq"}),
        (read_centroids, "a k-means", {"a k-means of scikit-learn", "a NumPy array", "a safetensors file"}),
        (read_f0_edges, "a checkpoint", {"a checkpoint of torch.save"}),
        (read_labels, "labels", {"a dictionary of fairseq", "a JSON document"}),
    )
    for read, wanted, own in readers:
        if what in own:
            continue
        with pytest.raises((BackboneError, BundleError)) as caught:
            read(str(path))
        assert str(caught.value).startswith(f"{path}: {what} instead of {wanted}; ")


def test_a_checkpoint_larger_than_any_dictionary_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    with path.open("wb") as file:
        file.write(CHECKPOINT)
        file.truncate(17 << 20)
    with pytest.raises(BackboneError, match=r"dict\.txt: a checkpoint of torch\.save instead of a dictionary"):
        read_dictionary(str(path))


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r": a directory instead of a file; name the original file"):
        read_checkpoint(str(tmp_path))
