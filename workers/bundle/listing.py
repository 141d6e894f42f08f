"""What lies in a store of bundles: the bundles, and what is none of theirs."""

from __future__ import annotations

import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from infra import object_storage
from infra.errors import BundleError, StorageError
from workers.bundle.manifest import BundleManifest
from workers.bundle.read import at, latest_version, of_task

__all__ = ["BundleRow", "BundleStore", "list_bundles", "list_store"]

_TASK, _VERSION = r"(?P<task>[a-z0-9][a-z0-9._-]{0,63})", r"(?P<version>[0-9a-f]{16})"
_BACKBONE_FILE = re.compile(r"backbones/[0-9a-f]{16}-[0-9a-f]{16}/(backbone\.json|(lm|tokenizer)\.safetensors)")
"""Of a backbone beside the bundles that were made for it, as ``bundle pull --with-backbone`` puts it."""
_MANIFEST_KEY = re.compile(rf"{_TASK}/{_VERSION}/bundle\.json")
_BESIDE_MANIFEST = re.compile(rf"{_TASK}/{_VERSION}/(prompt\.safetensors|README\.md|signature\.[0-9a-f]{{16}}\.json)")
_OF_TASK = re.compile(rf"{_TASK}/(latest\.json|damaged/[0-9a-f]{{16}}/[^/]+)")
_LISTING_THREADS = 8


@dataclass(frozen=True)
class BundleRow:
    """One line of a listing.

    Attributes:
        uri: the bundle's own directory.
        task: name of its task.
        version: digest of its content, by the name of the directory.
        latest: whether readers of the task get this version.
        manifest: ``None`` if it cannot be read.
        problem: why it, or the pointer to the latest version of its task, cannot be read.
    """

    uri: str
    task: str
    version: str
    latest: bool
    manifest: BundleManifest | None
    problem: str | None


@dataclass(frozen=True)
class BundleStore:
    """What lies below a directory of bundles.

    Attributes:
        rows: every published bundle, by task, oldest version first.
        strays: names of files, relative to the directory, that belong to none of them: no reader ever gets them.
    """

    rows: list[BundleRow]
    strays: list[str]


def list_bundles(root: str) -> list[BundleRow]:
    """Every published bundle below ``root``, by task, oldest version first; one that cannot be read is a row too.

    Raises:
        StorageError: ``root`` cannot be listed.
    """
    return list_store(root).rows


def list_store(root: str) -> BundleStore:
    """The same, and what lies there besides.

    Raises:
        StorageError: ``root`` cannot be listed.
    """
    names = object_storage.list_files(root)
    keys = [match for name in names if (match := _MANIFEST_KEY.fullmatch(name))]
    tasks = sorted({match["task"] for match in keys})
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        pointers = dict(zip(tasks, pool.map(lambda task: _pointer(root, task), tasks), strict=True))
        rows = pool.map(lambda match: _row(root, match["task"], match["version"], pointers[match["task"]]), keys)
        ordered = sorted(rows, key=_age)
    places = {(match["task"], match["version"]) for match in keys}
    return BundleStore(ordered, [name for name in names if not _belongs(name, places)])


def _belongs(name: str, places: Collection[tuple[str, str]]) -> bool:
    if _MANIFEST_KEY.fullmatch(name) or _BACKBONE_FILE.fullmatch(name):
        return True
    if beside := _BESIDE_MANIFEST.fullmatch(name):
        return (beside["task"], beside["version"]) in places
    of_one = _OF_TASK.fullmatch(name)
    return of_one is not None and any(task == of_one["task"] for task, _ in places)


def _age(row: BundleRow) -> tuple[str, float, str]:
    created = row.manifest.provenance.created.timestamp() if row.manifest else 0.0
    return row.task, created, row.version


def _row(root: str, task: str, version: str, pointer: _Pointer) -> BundleRow:
    uri = object_storage.join(root, task, version)
    manifest, problem = None, pointer.problem
    try:
        manifest = of_task(at(uri), task).manifest
    except (BundleError, StorageError) as error:
        problem = str(error)
    return BundleRow(uri, task, version, pointer.version == version, manifest, problem)


@dataclass(frozen=True)
class _Pointer:
    version: str | None = None
    problem: str | None = None


def _pointer(root: str, task: str) -> _Pointer:
    try:
        return _Pointer(version=latest_version(object_storage.join(root, task)))
    except (BundleError, StorageError) as error:
        return _Pointer(problem=str(error))
