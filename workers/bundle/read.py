"""Read bundles from a directory or object storage, taking their bytes for hostile.

Sizes are bounded before a byte is read, digests are compared before anything is parsed, and the names of the files
are fixed, so that no name from a manifest ever becomes a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from infra import object_storage
from infra.errors import BundleError, ObjectNotFound, StorageError
from workers.bundle.format import (
    LATEST_LIMIT,
    LIMITS,
    Bundle,
    PackedBundle,
    check_file,
    parse_latest,
    parse_manifest,
    parse_tensors,
    size_limit,
)
from workers.bundle.manifest import LATEST_FILE, MANIFEST_FILE, PAYLOAD, PROMPT_FILE, BundleManifest
from workers.bundle.signing import TrustedKey, check_signature

__all__ = ["BundleRow", "FoundBundle", "fetch", "find", "list_bundles", "read", "verify"]

_MANIFEST_KEY = re.compile(r"(?P<task>[a-z0-9][a-z0-9._-]{0,63})/(?P<version>[0-9a-f]{16})/bundle\.json")
_VERSION = re.compile(r"[0-9a-f]{16}")
_LISTING_THREADS = 8


@dataclass(frozen=True)
class FoundBundle:
    """A published bundle.

    Attributes:
        uri: its own directory, ``<bundles>/<task>/<version>``.
        manifest: its ``bundle.json``, checked by itself; the other files have not been looked at.
        document: the bytes of ``bundle.json``.
    """

    uri: str
    manifest: BundleManifest
    document: bytes = field(repr=False)

    @property
    def version(self) -> str:
        """Digest of its content."""
        return self.manifest.version


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


def find(uri: str, *, trusted: Sequence[TrustedKey] = ()) -> FoundBundle:
    """The bundle at ``uri``, by its manifest alone.

    Args:
        uri: absolute; directory of a task, which stands for its latest version, or of one version.
        trusted: if any, keys by one of which it must be signed.

    Raises:
        UntrustedBundle: it is not signed by one of them.
        BundleError: there is none, or its manifest is damaged.
        StorageError: the place cannot be read.
    """
    uri = uri.rstrip("/")
    try:
        return _at(uri, trusted)
    except ObjectNotFound:
        version = _latest_version(uri)
    if version is None:
        raise BundleError(
            f"{uri} holds no bundle: neither {MANIFEST_FILE} nor {LATEST_FILE} is there; name a task's directory, "
            "or see `speechprompt bundle list`"
        )
    try:
        return _of_task(_at(object_storage.join(uri, version), trusted), object_storage.basename(uri))
    except ObjectNotFound as error:
        raise BundleError(
            f"{uri}/{LATEST_FILE} points to version {version}, which is not there; publish the task again"
        ) from error


def fetch(uri: str, *, trusted: Sequence[TrustedKey] = ()) -> PackedBundle:
    """All bytes of a bundle, each file compared with its digest.

    Raises:
        UntrustedBundle: it is not signed by one of the ``trusted`` keys.
        BundleError: there is none, or it is damaged or altered.
        StorageError: the place cannot be read.
    """
    return _fetch(find(uri, trusted=trusted))


def read(uri: str, *, trusted: Sequence[TrustedKey] = ()) -> Bundle:
    """The bundle at ``uri``, ready for use.

    Args:
        uri: absolute; directory of a task, which stands for its latest version, or of one version.
        trusted: if any, keys by one of which it must be signed.

    Raises:
        UntrustedBundle: it is not signed by one of them.
        BundleError: there is none, or it is damaged or altered.
        StorageError: the place cannot be read.
    """
    found = find(uri, trusted=trusted)
    return _parse(_fetch(found), found.uri)


def verify(uri: str, *, trusted: Sequence[TrustedKey] = ()) -> FoundBundle:
    """Read everything and keep nothing: returns only if every digest, size, shape and number is as it should be.

    Raises:
        UntrustedBundle: it is not signed by one of the ``trusted`` keys.
        BundleError: there is none, or it is damaged or altered.
        StorageError: the place cannot be read.
    """
    found = find(uri, trusted=trusted)
    _parse(_fetch(found), found.uri)
    return found


def list_bundles(root: str) -> list[BundleRow]:
    """Every published bundle below ``root``, by task, oldest version first; one that cannot be read is a row too.

    Raises:
        StorageError: ``root`` cannot be listed.
    """
    keys = [match for name in object_storage.list_files(root) if (match := _MANIFEST_KEY.fullmatch(name))]
    tasks = sorted({match["task"] for match in keys})
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        pointers = dict(zip(tasks, pool.map(lambda task: _pointer(root, task), tasks), strict=True))
        rows = pool.map(lambda match: _row(root, match["task"], match["version"], pointers[match["task"]]), keys)
        return sorted(rows, key=_age)


def _age(row: BundleRow) -> tuple[str, float, str]:
    created = row.manifest.provenance.created.timestamp() if row.manifest else 0.0
    return row.task, created, row.version


def _row(root: str, task: str, version: str, pointer: _Pointer) -> BundleRow:
    uri = object_storage.join(root, task, version)
    manifest, problem = None, pointer.problem
    try:
        manifest = _of_task(_at(uri), task).manifest
    except (BundleError, StorageError) as error:
        problem = str(error)
    return BundleRow(uri, task, version, pointer.version == version, manifest, problem)


@dataclass(frozen=True)
class _Pointer:
    version: str | None = None
    problem: str | None = None


def _pointer(root: str, task: str) -> _Pointer:
    try:
        return _Pointer(version=_latest_version(object_storage.join(root, task)))
    except (BundleError, StorageError) as error:
        return _Pointer(problem=str(error))


def _latest_version(task_uri: str) -> str | None:
    file = object_storage.join(task_uri, LATEST_FILE)
    try:
        data = object_storage.read_bytes(file, limit=LATEST_LIMIT)
    except ObjectNotFound:
        return None
    return parse_latest(data, file=file)


def _at(uri: str, trusted: Sequence[TrustedKey] = ()) -> FoundBundle:
    """Raises ``ObjectNotFound`` where there is no manifest."""
    file = object_storage.join(uri, MANIFEST_FILE)
    document = object_storage.read_bytes(file, limit=LIMITS[MANIFEST_FILE])
    if trusted:
        check_signature(uri, document, trusted)
    manifest = parse_manifest(document, file=file)
    name = object_storage.basename(uri)
    if _VERSION.fullmatch(name) and name != manifest.version:
        raise BundleError(
            f"{file} has the content of version {manifest.version}, not {name}; it was altered, publish it again"
        )
    return FoundBundle(uri, manifest, document)


def _of_task(found: FoundBundle, task: str) -> FoundBundle:
    """Refuse a bundle that was put under another task's name."""
    if found.manifest.task.name != task:
        raise BundleError(
            f"{found.uri}/{MANIFEST_FILE} is of task {found.manifest.task.name}, not {task}; "
            "publish the bundle under its own name"
        )
    return found


def _fetch(found: FoundBundle) -> PackedBundle:
    return PackedBundle(found.manifest, dict(_payload(found)) | {MANIFEST_FILE: found.document})


def _payload(found: FoundBundle) -> Iterator[tuple[str, bytes]]:
    for name in PAYLOAD:
        entry, file = found.manifest.files[name], object_storage.join(found.uri, name)
        limit = size_limit(name, found.manifest)
        if entry.size > limit:
            raise BundleError(
                f"{file} is said to have {entry.size} bytes, more than the {limit} allowed; "
                "ask its publisher for another bundle"
            )
        try:
            data = object_storage.read_bytes(file, limit=limit)
        except ObjectNotFound as error:
            raise BundleError(f"{file} is missing; fetch or publish the bundle again") from error
        check_file(data, entry, file=file)
        yield name, data


def _parse(packed: PackedBundle, uri: str) -> Bundle:
    file = object_storage.join(uri, PROMPT_FILE)
    bundle = Bundle(packed.manifest, parse_tensors(packed.files[PROMPT_FILE], packed.manifest, file=file))
    bundle.check()
    return bundle
