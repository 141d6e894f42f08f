"""Centroids out of files by unknown hands."""

from __future__ import annotations

import io
import pickle
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import safetensors.numpy
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from infra import object_storage
from infra.errors import BackboneError
from tests.fixtures.golden import expected
from tests.fixtures.hostile_files import PAYLOADS, payload
from tests.fixtures.shared_data import shared_folder
from workers.speech.kmeans_file import read_centroids

CENTROIDS = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)


def _estimator(**attributes: Any) -> sklearn.cluster.MiniBatchKMeans:
    """A k-means as training leaves it, with a random state of numpy's inside."""
    model = sklearn.cluster.MiniBatchKMeans(5, random_state=np.random.RandomState(3))
    vars(model).update(cluster_centers_=CENTROIDS, inertia_=np.float64(2.5), labels_=np.arange(3), **attributes)
    return model


def _dump(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, **options)
    return buffer.getvalue()


PLAIN = _dump(_estimator())


def _file(tmp_path: Path, content: bytes, name: str = "km.bin") -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


@pytest.mark.parametrize("file", ["km.bin", "km_unaligned.bin"])
def test_reads_the_original_layouts(file: str) -> None:
    folder = shared_folder("golden/hubert")
    found = read_centroids(str(folder / file))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(folder / "expected_km.npz")["cluster_centers"])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4"])
def test_reads_what_joblib_writes(tmp_path: Path, protocol: int, order: Any, kind: str) -> None:
    centroids = CENTROIDS.astype(kind, order=order)
    model = _estimator()
    model.cluster_centers_ = centroids
    found = read_centroids(_file(tmp_path, _dump(model, protocol=protocol)))
    np.testing.assert_array_equal(found, centroids.astype(np.float32))
    found = read_centroids(_file(tmp_path, pickle.dumps(model, protocol=protocol)))
    np.testing.assert_array_equal(found, centroids.astype(np.float32))


def test_reads_the_names_of_old_versions(tmp_path: Path) -> None:
    content = _dump(_estimator(), protocol=2)
    old = content.replace(b"csklearn.cluster._kmeans\n", b"csklearn.cluster.k_means_\n")
    assert old != content
    np.testing.assert_array_equal(read_centroids(_file(tmp_path, old)), CENTROIDS)


@pytest.mark.parametrize("name", ["centres.npy", "centres.safetensors"])
def test_reads_plain_arrays(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, CENTROIDS)
    content = buffer.getvalue() if name.endswith("npy") else safetensors.numpy.save({"any": CENTROIDS})
    np.testing.assert_array_equal(read_centroids(_file(tmp_path, content, name)), CENTROIDS)


def test_reads_from_s3(store_root: str) -> None:
    place = object_storage.join(store_root, "km.bin")
    object_storage.write_bytes(place, PLAIN)
    np.testing.assert_array_equal(read_centroids(place), CENTROIDS)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_call_is_refused_by_name(tmp_path: Path, name: str, protocol: int) -> None:
    mark = tmp_path / "mark"
    evil = payload(name, mark)
    hidden = np.array([evil, 1], dtype=object)
    for value in (evil, _estimator(init=evil), _estimator(note_={"deep": [evil]}), _estimator(counts_=hidden)):
        for content in (_dump(value, protocol=protocol), pickle.dumps(value, protocol=protocol)):
            with pytest.raises(BackboneError, match=rf"km\.bin: (refused, for reading it would call {name}|.*numbers)"):
                read_centroids(_file(tmp_path, content))
    assert not mark.exists()


def test_classes_of_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    for value, name in (
        (Path("x"), "pathlib.PosixPath"),
        (sklearn.cluster.DBSCAN(), r"sklearn\.cluster\._dbscan\.DBSCAN"),
    ):
        with pytest.raises(BackboneError, match=rf"refused, for reading it would call {name}, which no k-means needs"):
            read_centroids(_file(tmp_path, _dump(value)))


def _changed(**fields: Any) -> bytes:
    model = _estimator()
    vars(model).update(fields)
    return _dump(model)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file instead of a k-means; fetch the file again"),
        (b"hello, this is a text file\n", "a text instead of a k-means"),
        (PLAIN[:-300], r"damaged \(it ends .* too early\); fetch the file again"),
        (PLAIN[:40], "not a k-means"),
        (_dump({"cluster_centers_": CENTROIDS}), "no k-means with cluster_centers_"),
        (_changed(cluster_centers_=None), "no k-means with cluster_centers_"),
        (_changed(cluster_centers_=CENTROIDS[0]), "float32 .7. instead of a table of centroids"),
        (_changed(cluster_centers_=np.arange(6).reshape(2, 3)), "int64 .2, 3. instead of a table of centroids"),
        (_changed(cluster_centers_=CENTROIDS[:0]), "0 centroids of 7 numbers"),
        (_changed(cluster_centers_=CENTROIDS * np.float32("nan")), "a number that is not finite"),
        # The record announces a terabyte; nothing of it is there.
        (PLAIN.replace(b"K\x05K\x07\x86", b"J\xff\xff\xff\x7fK\x7f\x86"), "damaged"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(BackboneError, match=rf"km\.bin: .*{said}"):
        read_centroids(_file(tmp_path, content))


def test_arrays_of_objects_and_several_tensors_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        np.save(buffer, np.array([payload("os.system", tmp_path / "mark")], dtype=object), allow_pickle=True)
    with pytest.raises(BackboneError, match=r"evil\.npy: .*not an \.npy file of numbers"):
        read_centroids(_file(tmp_path, buffer.getvalue(), "evil.npy"))
    assert not (tmp_path / "mark").exists()
    two = safetensors.numpy.save({"a": CENTROIDS, "b": CENTROIDS})
    with pytest.raises(BackboneError, match=r"2 tensors instead of one"):
        read_centroids(_file(tmp_path, two, "two.safetensors"))
    with pytest.raises(BackboneError, match=r"bad\.safetensors: .*not a safetensors file"):
        read_centroids(_file(tmp_path, two[:20], "bad.safetensors"))
    with pytest.raises(BackboneError, match=r"gone\.bin: there is no such file"):
        read_centroids(str(tmp_path / "gone.bin"))


@settings(max_examples=200)
@given(st.data())
def test_no_damage_ends_in_another_way(data: st.DataObject) -> None:
    content = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    with tempfile.TemporaryDirectory() as directory, suppress(BackboneError):
        found: NDArray[np.float32] = read_centroids(_file(Path(directory), bytes(content)))
        assert found.ndim == 2
