from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra import object_storage as storage
from infra.errors import BundleError, StorageError, StoreUnreachable
from tests.fixtures.bundles import random_bundle
from workers.bundle.format import pack
from workers.bundle.listing import list_bundles, list_store
from workers.bundle.mend import publish_or_mend
from workers.bundle.publish import publish
from workers.bundle.pull import pull
from workers.bundle.read import find, read, verify

FILES = ["README.md", "bundle.json", "prompt.safetensors"]


def _content(root: str) -> dict[str, bytes]:
    return {name: storage.read_bytes(storage.join(root, name)) for name in storage.list_files(root)}


def _remove(uri: str) -> None:
    """Tests only: the product never deletes."""
    if storage.is_s3(uri):
        from infra.s3_client import client
        from infra.uris import split_s3

        bucket, key = split_s3(uri)
        client().delete_object(Bucket=bucket, Key=key)
    else:
        Path(uri).unlink()


def test_publish_and_read(store_root: str) -> None:
    bundle = random_bundle()
    published = publish(store_root, bundle)
    assert published.created
    assert published.uri == f"{store_root}/toy-task/{published.version}"
    assert storage.list_files(store_root) == sorted(
        ["toy-task/latest.json", *(f"toy-task/{published.version}/{name}" for name in FILES)]
    )
    for uri in (published.uri, f"{store_root}/toy-task", f"{store_root}/toy-task/"):
        found = read(uri)
        assert found.manifest.version == published.version
        assert found.manifest.task == bundle.manifest.task
        assert all(np.array_equal(found.tensors[name], bundle.tensors[name]) for name in bundle.tensors)
        assert verify(uri).uri == published.uri


def test_the_second_publisher_changes_nothing(store_root: str) -> None:
    first = publish(store_root, random_bundle(run_id="first"))
    before = _content(store_root)
    second = publish(store_root, random_bundle(run_id="second", created=datetime(2031, 1, 1, tzinfo=UTC)))
    assert (first.created, second.created) == (True, False)
    assert (second.uri, second.version) == (first.uri, first.version)
    assert _content(store_root) == before
    assert read(first.uri).manifest.provenance.run_id == "first"


def test_of_concurrent_publishers_one_creates(store_root: str) -> None:
    bundles = [random_bundle(run_id=f"run {index}") for index in range(6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda bundle: publish(store_root, bundle), bundles))
    created = [result.created for result in results]
    assert created.count(True) == 1
    assert read(results[0].uri).manifest.provenance.run_id == f"run {created.index(True)}"


def test_concurrent_versions_all_appear_and_the_pointer_is_one_of_them(store_root: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: publish(store_root, random_bundle(seed=seed)), range(4)))
    rows = list_bundles(store_root)
    assert {row.version for row in rows} == {result.version for result in results}
    assert [row.latest for row in rows].count(True) == 1
    verify(f"{store_root}/toy-task")


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_publisher_killed_half_way_is_completed_by_the_next(store_root: str, written: int) -> None:
    """The files appear one by one; whatever the number that made it, publishing again completes the bundle."""
    old = publish(store_root, random_bundle(seed=1))
    packed = pack(random_bundle(created=datetime(2025, 6, 1, tzinfo=UTC)))
    uri = f"{store_root}/toy-task/{packed.manifest.version}"
    for name in list(packed.files)[:written]:
        storage.write_bytes(f"{uri}/{name}", packed.files[name])
    assert find(f"{store_root}/toy-task").uri == old.uri
    assert len(list_bundles(store_root)) == (2 if written == 3 else 1)

    published = publish(store_root, random_bundle(run_id="next", created=datetime(2025, 7, 1, tzinfo=UTC)))
    assert published.created == (written < 3)
    assert verify(f"{store_root}/toy-task").uri == published.uri == uri


def test_publishing_an_older_version_again_leaves_the_latest(store_root: str) -> None:
    publish(store_root, random_bundle(seed=1))
    latest = publish(store_root, random_bundle(seed=2, created=datetime(2026, 1, 1, tzinfo=UTC)))
    assert not publish(store_root, random_bundle(seed=1, created=datetime(2027, 1, 1, tzinfo=UTC))).created
    assert find(f"{store_root}/toy-task").version == latest.version


def test_a_pointer_to_nothing_is_mended(store_root: str) -> None:
    published = publish(store_root, random_bundle())
    storage.write_bytes(f"{store_root}/toy-task/latest.json", b'{"format_version":1,"version":"0123456789abcdef"}')
    with pytest.raises(BundleError, match="points to version 0123456789abcdef, which is not there"):
        read(f"{store_root}/toy-task")
    assert not publish(store_root, random_bundle()).created
    assert find(f"{store_root}/toy-task").uri == published.uri


def test_foreign_bytes_are_neither_overwritten_nor_published(store_root: str) -> None:
    packed = pack(random_bundle())
    uri = f"{store_root}/toy-task/{packed.manifest.version}"
    storage.write_bytes(f"{uri}/prompt.safetensors", b"foreign")
    with pytest.raises(BundleError, match="holds other bytes"):
        publish(store_root, random_bundle())
    assert _content(store_root) == {f"toy-task/{packed.manifest.version}/prompt.safetensors": b"foreign"}


def test_a_damaged_bundle_is_not_reported_as_published(store_root: str) -> None:
    published = publish(store_root, random_bundle())
    storage.write_bytes(f"{published.uri}/prompt.safetensors", b"damaged")
    with pytest.raises(BundleError, match="altered"):
        publish(store_root, random_bundle())
    assert storage.read_bytes(f"{published.uri}/prompt.safetensors") == b"damaged"


@pytest.mark.parametrize("name", FILES[::2])
def test_missing_file(store_root: str, name: str) -> None:
    published = publish(store_root, random_bundle())
    _remove(f"{published.uri}/{name}")
    with pytest.raises(BundleError, match=f"{name} is missing"):
        verify(published.uri)


def test_sizes_are_bounded_before_reading(tmp_path: Path) -> None:
    published = publish(str(tmp_path), random_bundle())
    with (Path(published.uri) / "bundle.json").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(StorageError, match="larger than"):
        read(published.uri)


def test_a_digest_is_compared_before_anything_is_parsed(tmp_path: Path) -> None:
    published = publish(str(tmp_path), random_bundle())
    prompt = Path(published.uri) / "prompt.safetensors"
    prompt.write_bytes(b"\xff" * prompt.stat().st_size)
    with pytest.raises(BundleError, match="is not the file that"):
        read(published.uri)


def test_nothing_there(store_root: str) -> None:
    with pytest.raises(BundleError, match="holds no bundle"):
        read(f"{store_root}/toy-task")
    assert list_bundles(store_root) == []


def test_listing_shows_what_is_damaged(store_root: str) -> None:
    good = publish(store_root, random_bundle(task="good"))
    bad = publish(store_root, random_bundle(task="bad"))
    storage.write_bytes(f"{bad.uri}/bundle.json", b"{}")
    storage.write_bytes(f"{store_root}/notes/readme.txt", b"no bundle")
    bad_row, good_row = list_bundles(store_root)
    assert (good_row.uri, good_row.latest, good_row.problem) == (good.uri, True, None)
    assert (bad_row.uri, bad_row.manifest) == (bad.uri, None)
    assert "bundle.json" in str(bad_row.problem)
    storage.write_bytes(f"{store_root}/good/latest.json", b"{}")
    _, good_row = list_bundles(store_root)
    assert good_row.manifest is not None
    assert not good_row.latest
    assert "latest.json" in str(good_row.problem)


def test_versions_are_listed_oldest_first(tmp_path: Path) -> None:
    newer = publish(str(tmp_path), random_bundle(seed=1, created=datetime(2026, 1, 1, tzinfo=UTC)))
    older = publish(str(tmp_path), random_bundle(seed=2, created=datetime(2024, 1, 1, tzinfo=UTC)))
    assert [row.version for row in list_bundles(str(tmp_path))] == [older.version, newer.version]


def test_pull_copies_every_byte(store_root: str, tmp_path: Path) -> None:
    published = publish(store_root, random_bundle())
    target = str(tmp_path / "pulled")
    pulled = pull(f"{store_root}/toy-task", target)
    assert pulled.created
    assert pulled.uri == f"{target}/toy-task/{published.version}"
    assert _content(target) == _content(store_root)
    assert not pull(published.uri, target).created


def test_pull_takes_nothing_that_is_damaged(store_root: str, tmp_path: Path) -> None:
    published = publish(store_root, random_bundle())
    storage.write_bytes(f"{published.uri}/README.md", b"other")
    with pytest.raises(BundleError, match="altered"):
        pull(published.uri, str(tmp_path / "pulled"))
    assert not (tmp_path / "pulled").exists()


def test_a_copy_under_a_name_of_ones_own_can_be_read(tmp_path: Path) -> None:
    published = publish(str(tmp_path), random_bundle())
    copy = Path(published.uri).rename(tmp_path / "my-favourite")
    assert read(str(copy)).manifest.version == published.version
    wrong = copy.rename(tmp_path / ("0" * 16))
    with pytest.raises(BundleError, match=f"not {'0' * 16}"):
        read(str(wrong))


def test_version_is_the_digest_the_format_describes(tmp_path: Path) -> None:
    """Recomputed with the standard library alone, as another reader would."""
    import json

    published = publish(str(tmp_path), random_bundle())
    document = json.loads((Path(published.uri) / "bundle.json").read_text())
    del document["provenance"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == published.version


@pytest.mark.parametrize("name", [*FILES, "latest.json"])
@pytest.mark.parametrize("change", ["flipped", "emptied", "removed"])
def test_what_was_damaged_is_mended_by_who_has_it_again(store_root: str, name: str, change: str) -> None:
    bundle = random_bundle(run_id="first")
    published = publish(store_root, bundle)
    before = _content(store_root)
    directory = f"{store_root}/toy-task" if name == "latest.json" else published.uri
    file = storage.join(directory, name)
    damaged = {"flipped": before[file.removeprefix(f"{store_root}/")].replace(b"e", b"f"), "emptied": b""}.get(change)
    if damaged is None:
        _remove(file)
    else:
        storage.write_bytes(file, damaged)
    again = publish_or_mend(store_root, random_bundle(run_id="second"))
    assert (again.uri, again.version) == (published.uri, published.version)
    verify(f"{store_root}/toy-task")
    after = _content(store_root)
    kept = {place: data for place, data in after.items() if "/damaged/" in place}
    # A manifest or a pointer that is missing is the same as one that was never written.
    mended = damaged is not None or name in ("README.md", "prompt.safetensors")
    assert again.mended == ((file,) if mended else ())
    assert list(kept.values()) == ([damaged] if damaged is not None else [])
    changed = {place for place, data in before.items() if after[place] != data}
    assert changed <= ({f"toy-task/{published.version}/bundle.json"} if name == "bundle.json" else set())
    assert publish_or_mend(store_root, bundle).mended == ()
    assert [row.problem for row in list_bundles(store_root)] == [None]


@pytest.mark.parametrize("name", [*FILES, "latest.json"])
def test_what_grew_beyond_its_limit_is_mended_and_not_read(tmp_path: Path, name: str) -> None:
    published = publish(str(tmp_path), random_bundle())
    file = (tmp_path / "toy-task" if name == "latest.json" else Path(published.uri)) / name
    os.truncate(file, 2**40)
    again = publish_or_mend(str(tmp_path), random_bundle(run_id="second"))
    assert again.mended == (str(file),)
    verify(f"{tmp_path}/toy-task")
    # A terabyte is not kept.
    assert not (tmp_path / "toy-task" / "damaged").exists()


def test_an_unreachable_store_is_not_mended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(str(tmp_path), random_bundle())

    def down(*_: Any) -> None:
        raise StoreUnreachable("down; wait")

    monkeypatch.setattr("workers.bundle.mend.store", down)
    monkeypatch.setattr("workers.bundle.mend._mend", lambda *_: pytest.fail("mended"))
    with pytest.raises(StoreUnreachable):
        publish_or_mend(str(tmp_path), random_bundle())


def test_strays_are_named_and_not_read(store_root: str) -> None:
    published = publish(store_root, random_bundle())
    storage.write_bytes(f"{store_root}/toy-task/damaged/{published.version}/x-README.md", b"kept by a repair")
    storage.write_bytes(f"{published.uri}/signature.0123456789abcdef.json", b"{}")
    strays = [
        "notes.txt",
        "other-task/0123456789abcdef/prompt.safetensors",
        "other-task/latest.json",
        "toy-task/bundle.json",
        f"toy-task/{published.version}/payload.bin",
    ]
    for name in strays:
        storage.write_bytes(f"{store_root}/{name}", b"{}")
    found = list_store(store_root)
    assert found.strays == sorted(strays)
    assert [(row.uri, row.problem) for row in found.rows] == [(published.uri, None)]


def test_a_bundle_that_is_not_one_is_not_mended(store_root: str) -> None:
    bundle = random_bundle()
    with pytest.raises(BundleError):
        publish_or_mend(store_root, type(bundle)(bundle.manifest, {}))
    assert storage.list_files(store_root) == []
