"""A disk that is full: one sentence that names the place, and nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infra import object_storage as storage
from infra.errors import StorageError, TrackingError
from infra.tracking.event import Header, Point
from infra.tracking.journal import Journal
from tests.fixtures.bundles import random_bundle
from workers.bundle.listing import list_bundles
from workers.bundle.publish import publish
from workers.bundle.read import verify
from workers.speech.unit_cache import UnitCache
from workers.speech.units import Units

KIB = 1024


def fill(disk: Path, *, leave: int) -> None:
    """Take all room but ``leave`` bytes, in whole pages."""
    space = os.statvfs(disk)
    (disk / "others").write_bytes(bytes(space.f_bavail * space.f_bsize - leave))


def files(disk: Path) -> set[str]:
    return {str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file()} - {"others"}


WRITES: list[Callable[[str, Path], object]] = [
    lambda uri, _: storage.write_bytes(uri, bytes(64 * KIB)),
    lambda uri, _: storage.write_if_absent(uri + ".new", bytes(64 * KIB)),
    lambda uri, _: storage.write_if_version(uri, bytes(64 * KIB), storage.read_versioned(uri)[1]),
    lambda uri, source: storage.upload(str(source), uri),
]


@pytest.mark.parametrize("write", WRITES)
def test_a_file_is_whole_or_as_it_was(write: Callable[[str, Path], object], disk: Path, tmp_path: Path) -> None:
    uri = str(disk / "file")
    storage.write_bytes(uri, b"old")
    (tmp_path / "source").write_bytes(bytes(64 * KIB))
    fill(disk, leave=16 * KIB)
    with pytest.raises(StorageError, match=r"No space left on device\); make room there, or") as error:
        write(uri, tmp_path / "source")
    assert uri in str(error.value)
    assert storage.read_bytes(uri) == b"old"
    assert files(disk) == {"file"}


def test_a_bundle_is_published_whole_once_there_is_room(disk: Path) -> None:
    refused: list[str] = []
    while True:
        # Room for one more file each time.
        fill(disk, leave=4 * KIB)
        try:
            published = publish(str(disk), random_bundle())
        except StorageError as error:
            refused.append(str(error))
        else:
            break
        assert len(refused) <= 4
        for row in list_bundles(str(disk)):
            verify(row.uri)
        (disk / "others").unlink()
    assert refused
    assert all(f"{disk}/toy-task/" in message and "make room there" in message for message in refused)
    assert verify(str(disk / "toy-task")).uri == published.uri


def test_the_unit_cache_holds_whole_shards(disk: Path) -> None:
    cache = UnitCache(str(disk), "f" * 16)
    units = Units(np.random.default_rng(0).integers(0, 30_000, 40_000).astype(np.int16), np.ones(40_000, np.int32))
    fill(disk, leave=16 * KIB)
    with pytest.raises(StorageError, match=f"{disk}/.*parquet cannot be written"):
        cache.add({"k": units})
    assert files(disk) == set()
    (disk / "others").unlink()
    cache.add({"k": units})
    assert list(cache.lookup(["k"])) == ["k"]


def test_the_spool_holds_whole_events(disk: Path) -> None:
    journal = Journal(disk / "run", Header("e", "lane", "k", None))
    fill(disk, leave=8 * KIB)
    taken = 0
    said = ""
    while not said:
        try:
            journal.append(Point(taken, {"loss": 1.0}))
            taken += 1
        except TrackingError as error:
            said = str(error)
    assert f"{disk}/run: the tracking spool cannot be written (No space" in said
    with pytest.raises(TrackingError, match="No space"):
        journal.append_artifact("figures/f.png", bytes(64 * KIB))
    assert not list((disk / "run/files").iterdir())
    (disk / "others").unlink()
    journal.append(Point(taken, {"loss": 1.0}))
    events = [event for event, *_ in journal.read(0)]
    assert [event.step for event in events if isinstance(event, Point)] == list(range(taken + 1))
    assert len(events) == taken + 1
    journal.close()
