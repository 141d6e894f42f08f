"""Read bundles from a directory or object storage, taking their bytes for hostile.

Sizes are bounded before a byte is read, digests are compared before anything is parsed, and the names of the files
are fixed, so that no name from a manifest ever becomes a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra import object_storage
from infra.errors import BundleError, ObjectNotFound, UntrustedBundle
from infra.printable import first_of
from task_specs.near_paths import path_remedy
from workers.bundle.format import (
    LATEST_LIMIT,
    LIMITS,
    Bundle,
    PackedBundle,
    check_file,
    parse_latest,
    parse_manifest,
    parse_tensors,
    require_usable,
    size_limit,
)
from workers.bundle.manifest import LATEST_FILE, MANIFEST_FILE, PAYLOAD, PROMPT_FILE, BundleManifest
from workers.bundle.signing import TrustedKey, check_signature

__all__ = ["FoundBundle", "fetch", "find", "read", "verify"]

_TASKS_SHOWN = 10
_VERSION = re.compile(r"[0-9a-f]{16}")


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


def find(uri: str, *, trusted: Sequence[TrustedKey] = ()) -> FoundBundle:
    """The bundle at ``uri``, by its manifest alone.

    Place and content must agree: below ``<task>/`` is that task, and in ``<task>/<version>`` that version of it. A copy
    elsewhere may have any other name, unless keys are given: then the name of its directory is its task's.

    Args:
        uri: absolute; directory of a task, which stands for its latest version, or of one version.
        trusted: if any, keys by one of which it must be signed.

    Raises:
        UntrustedBundle: it is not signed by one of them, or lies under another name than its task's.
        BundleError: there is none, its manifest is damaged, or it is of another task or version than its place.
        StorageError: the place cannot be read.
    """
    uri = uri.rstrip("/")
    # A task may be called as a version is. Elsewhere the pointer comes first: a bundle beside it answers for nobody.
    by_name = _VERSION.fullmatch(object_storage.basename(uri))
    for look in (_by_itself, _by_pointer) if by_name else (_by_pointer, _by_itself):
        if (found := look(uri, trusted)) is not None:
            return found
    raise BundleError(
        f"holds no bundle: neither {MANIFEST_FILE} nor {LATEST_FILE} is there", where=uri, remedy=_instead_of(uri)
    )


def _instead_of(uri: str) -> str:
    """What to name in place of a directory without a bundle."""
    if not object_storage.is_s3(uri) and not Path(uri).is_dir():
        return path_remedy(uri)
    # A store of objects would have to be listed as a whole.
    below = [] if object_storage.is_s3(uri) else Path(uri).glob(f"*/{LATEST_FILE}")
    if tasks := sorted(pointer.parent.name for pointer in below):
        return f"name the directory of a task in it: {first_of(tasks, _TASKS_SHOWN)}"
    return "name a task's directory, or see `speechprompt bundle list`"


def _by_pointer(uri: str, trusted: Sequence[TrustedKey]) -> FoundBundle | None:
    """The latest version of the task whose directory this is."""
    version = latest_version(uri)
    if version is None:
        return None
    try:
        return of_task(at(object_storage.join(uri, version), trusted), object_storage.basename(uri))
    except ObjectNotFound as error:
        raise BundleError(
            f"{uri}/{LATEST_FILE} points to version {version}, which is not there", remedy="publish the task again"
        ) from error


def _by_itself(uri: str, trusted: Sequence[TrustedKey]) -> FoundBundle | None:
    """The bundle whose own directory this is: of a version, below its task's, or a copy under a name of its own."""
    try:
        found = at(uri, trusted)
    except ObjectNotFound:
        return None
    if _VERSION.fullmatch(name := object_storage.basename(uri)):
        return of_task(found, object_storage.basename(object_storage.parent(uri)))
    task = found.manifest.task.name
    if trusted and name != task:
        # What is signed says of which task it is; only the name of its place says of which it is meant to be.
        raise UntrustedBundle(
            f"holds a signed bundle of task {task} under another name",
            where=uri,
            remedy=f"name the directory {task}, or give <bundles>/{task}",
        )
    return found


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
    """Read everything and keep nothing: returns only if every digest, size, shape and number is as it should be, and a
    classifier takes the bundle, given its backbone.

    Raises:
        UntrustedBundle: it is not signed by one of the ``trusted`` keys.
        BundleError: there is none, or it is damaged or altered.
        StorageError: the place cannot be read.
    """
    found = find(uri, trusted=trusted)
    _parse(_fetch(found), found.uri)
    return found


def latest_version(task_uri: str) -> str | None:
    """The version that a task's pointer names; ``None`` where there is no pointer."""
    file = object_storage.join(task_uri, LATEST_FILE)
    try:
        data = object_storage.read_bytes(file, limit=LATEST_LIMIT)
    except ObjectNotFound:
        return None
    return parse_latest(data, file=file)


def at(uri: str, trusted: Sequence[TrustedKey] = ()) -> FoundBundle:
    """What lies in exactly this directory; raises ``ObjectNotFound`` where there is no manifest."""
    file = object_storage.join(uri, MANIFEST_FILE)
    document = object_storage.read_bytes(file, limit=LIMITS[MANIFEST_FILE])
    if trusted:
        check_signature(uri, document, trusted)
    manifest = parse_manifest(document, file=file)
    name = object_storage.basename(uri)
    if _VERSION.fullmatch(name) and name != manifest.version:
        raise BundleError(
            f"has the content of version {manifest.version}, not {name}",
            where=file,
            remedy="it was altered, publish it again",
        )
    return FoundBundle(uri, manifest, document)


def of_task(found: FoundBundle, task: str) -> FoundBundle:
    """Refuse a bundle that was put below another name than its task's."""
    if found.manifest.task.name != task:
        raise BundleError(
            f"{found.uri}/{MANIFEST_FILE} is of task {found.manifest.task.name}, not {task}",
            remedy=f"put {found.version} into a directory called {found.manifest.task.name}",
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
                f"is said to have {entry.size} bytes, more than the {limit} allowed",
                where=file,
                remedy="ask its publisher for another bundle",
            )
        try:
            data = object_storage.read_bytes(file, limit=limit)
        except ObjectNotFound as error:
            raise BundleError("is missing", where=file, remedy="fetch or publish the bundle again") from error
        check_file(data, entry, file=file)
        yield name, data


def _parse(packed: PackedBundle, uri: str) -> Bundle:
    file = object_storage.join(uri, PROMPT_FILE)
    bundle = Bundle(packed.manifest, parse_tensors(packed.files[PROMPT_FILE], packed.manifest, file=file))
    require_usable(bundle.manifest, bundle.tensors)
    return bundle
