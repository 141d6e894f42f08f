"""Centroids out of files by unknown hands."""

from __future__ import annotations

import gzip
import io
import pickle
import pickletools
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
from workers.interop.centroids import read_centroids

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


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


PLAIN, NPY = _dump(_estimator()), _npy(CENTROIDS)


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


@pytest.mark.parametrize("compress", [1, 9, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_reads_what_joblib_compresses(tmp_path: Path, compress: Any) -> None:
    content = _dump(_estimator(), compress=compress)
    np.testing.assert_array_equal(read_centroids(_file(tmp_path, content)), CENTROIDS)


@pytest.mark.parametrize("compress", [("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_damage_of_what_is_compressed_is_seen(tmp_path: Path, compress: Any) -> None:
    content = bytearray(_dump(_estimator(), compress=compress))
    content[len(content) * 2 // 3] ^= 1
    for damaged in (
        bytes(content),
        _dump(_estimator(), compress=compress)[:-9],
        _dump(_estimator(), compress=compress) + b"x",
    ):
        with pytest.raises(BackboneError, match=r"km\.bin: damaged \(.*\); fetch the file again"):
            read_centroids(_file(tmp_path, damaged))


def test_what_unpacks_into_gigabytes_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.interop.centroids._LIMIT", 1 << 16)
    with pytest.raises(BackboneError, match=r"compressed with gzip instead of a k-means; unpack it"):
        read_centroids(_file(tmp_path, gzip.compress(bytes(1 << 24))))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dump", [_dump, pickle.dumps])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_arrays_alone(tmp_path: Path, protocol: int, dump: Any, order: Any) -> None:
    content = dump(CENTROIDS.copy(order=order), protocol=protocol)
    np.testing.assert_array_equal(read_centroids(_file(tmp_path, content)), CENTROIDS)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_reads_what_newer_versions_keep_beside_the_centroids(tmp_path: Path, protocol: int) -> None:
    model = _estimator(
        feature_names_in_=np.array(["f0", "f1"], dtype=object),
        _sklearn_output_config={"transform": "pandas"},
        n_features_in_=7,
        _new_in_the_next_version=np.arange(4, dtype=np.uint8),
    )
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(sample_weight=True)
    for content in (_dump(model, protocol=protocol), pickle.dumps(model, protocol=protocol)):
        np.testing.assert_array_equal(read_centroids(_file(tmp_path, content)), CENTROIDS)


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_reads_the_names_of_both_numpys(tmp_path: Path, core: str, protocol: int) -> None:
    # Protocol 4 and 5 write the length of a name before it; framing is left out of small pickles by pickletools.
    content = pickletools.optimize(pickle.dumps(CENTROIDS.copy(), protocol=protocol))
    modules = (f"{own}.{part}" for own in ("numpy._core", "numpy.core") for part in ("numeric", "multiarray"))
    module = next(name for name in modules if name.encode() in content)
    wanted = f"{core}.{module.rpartition('.')[2]}"
    old, new = module.encode(), wanted.encode()
    if protocol == 5:
        old, new = bytes([len(old)]) + old, bytes([len(new)]) + new
        content = content[:2] + content[11:]  # the one frame
    np.testing.assert_array_equal(read_centroids(_file(tmp_path, content.replace(old, new))), CENTROIDS)


def test_arrays_out_of_band_are_refused_by_what_they_are(tmp_path: Path) -> None:
    content = pickle.dumps(CENTROIDS.copy(), protocol=5, buffer_callback=lambda _: None)
    with pytest.raises(BackboneError, match=r"km\.bin: not a k-means \(.*its arrays are kept elsewhere, out of band"):
        read_centroids(_file(tmp_path, content))


def test_a_state_for_a_function_is_refused(tmp_path: Path) -> None:
    # BUILD upon copyreg._reconstructor, which would keep what it is given for all files to come.
    content = b"\x80\x02ccopyreg\n_reconstructor\n}X\x01\x00\x00\x00aK\x01sb."
    with pytest.raises(BackboneError, match="the state of something that has none"):
        read_centroids(_file(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("km.bin", PLAIN + b"\n", r"damaged \(1 bytes follow its end\); fetch the file again"),
        ("km.npy", NPY + b"\n", r"damaged \(141 bytes of numbers where its shape needs 140\); fetch the file again"),
        ("km.npy", NPY[:-1], r"damaged \(139 bytes of numbers where its shape needs 140\); fetch the file again"),
        ("km.npy", NPY[:40], "not an .npy file of numbers"),
        ("km.npy", NPY.replace(b"(5, 7)", b"(5**9)"), "not an .npy file of numbers"),
        ("km.npy", _npy(CENTROIDS.astype(np.float64) * 1e300), "not finite, or too large for float32"),
        ("km.npy", _npy(CENTROIDS.astype(np.complex64)), "not an .npy file of numbers but of complex64"),
        ("km.safetensors", safetensors.numpy.save({"a": CENTROIDS})[:-1], "not a safetensors file"),
    ],
)
def test_lengths_are_exact_and_numbers_fit(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(BackboneError, match=rf"{name}: .*{said}"):
        read_centroids(_file(tmp_path, content, name))


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["km.npy", "km.bin"])
def test_reads_every_npy_whatever_its_name(tmp_path: Path, kind: str, order: Any, name: str) -> None:
    centroids = CENTROIDS.astype(kind, order=order)
    np.testing.assert_array_equal(read_centroids(_file(tmp_path, _npy(centroids), name)), centroids.astype(np.float32))
