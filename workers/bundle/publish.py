"""Publish a bundle so that readers see it whole or not at all, whoever else publishes at the same moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from infra import object_storage
from infra.digest import canonical_json
from infra.errors import BundleError, ObjectNotFound, StorageError
from workers.bundle.format import LATEST_LIMIT, Bundle, PackedBundle, pack, parse_latest
from workers.bundle.manifest import LATEST_FILE, MANIFEST_FILE, PAYLOAD, Latest
from workers.bundle.read import find, verify

__all__ = ["Published", "publish", "store"]

_POINTER_ATTEMPTS = 20


@dataclass(frozen=True)
class Published:
    """Where a bundle lies.

    Attributes:
        uri: its own directory, ``<root>/<task>/<version>``.
        version: digest of its content.
        created: ``False`` if it was there already, and therefore stayed as it was.
        mended: files that were damaged, and were replaced.
        document: ``bundle.json`` as this publisher has it; one that was there already may say another provenance.
    """

    uri: str
    version: str
    created: bool
    mended: tuple[str, ...] = ()
    document: bytes = field(default=b"", repr=False)


def publish(root: str, bundle: Bundle) -> Published:
    """Put a bundle below ``root`` and point the task's ``latest.json`` to it.

    Whoever writes ``bundle.json`` first has published the version; another publisher of the same version changes
    nothing, and one that was killed half-way is completed by the next.

    Args:
        root: absolute directory or ``s3://`` prefix of all bundles.
        bundle: what to publish.

    Raises:
        BundleError: tensors and manifest disagree, or a damaged bundle lies at this version.
        StorageError: the place cannot be written.
    """
    return store(root, pack(bundle))


def store(root: str, packed: PackedBundle) -> Published:
    """`publish`, for a bundle that is already bytes."""
    version = packed.manifest.version
    task_uri = object_storage.join(root, packed.manifest.task.name)
    uri = object_storage.join(task_uri, version)
    manifest_file = object_storage.join(uri, MANIFEST_FILE)
    created = False
    if not object_storage.exists(manifest_file):
        for name in PAYLOAD:
            _write_same(object_storage.join(uri, name), packed.files[name])
        created = object_storage.write_if_absent(manifest_file, packed.files[MANIFEST_FILE])
    if not created:
        verify(uri)
    _point(task_uri, version, fresh=created)
    return Published(uri, version, created, document=packed.files[MANIFEST_FILE])


def _write_same(file: str, data: bytes) -> None:
    """Leave ``data`` at ``file``; another publisher of the version may have put the same there."""
    if object_storage.write_if_absent(file, data):
        return
    if object_storage.read_bytes(file, limit=len(data)) != data:
        raise BundleError(
            "holds other bytes than this version", where=file, remedy="remove its directory and publish again"
        )


def _point(task_uri: str, version: str, *, fresh: bool) -> None:
    """Make ``version`` the latest: if it is new, or was published after the one that is."""
    file = object_storage.join(task_uri, LATEST_FILE)
    pointer = canonical_json(Latest(version=version).model_dump(mode="json")) + b"\n"
    for _ in range(_POINTER_ATTEMPTS):
        try:
            data, seen = object_storage.read_versioned(file, limit=LATEST_LIMIT)
        except ObjectNotFound:
            current, seen = None, None
        else:
            current = parse_latest(data, file=file)
        if current == version or (current and not fresh and not _newer(task_uri, version, current)):
            return
        if object_storage.write_if_version(file, pointer, seen):
            return
    raise StorageError(
        f"changed {_POINTER_ATTEMPTS} times while it was being updated", where=file, remedy="publish again"
    )


def _newer(task_uri: str, version: str, current: str) -> bool:
    """Whether ``version`` was published after ``current``.

    It was if its publisher was killed before it could move the pointer. A pointer to nothing is older than anything.
    """
    ours, theirs = (object_storage.join(task_uri, name) for name in (version, current))
    if not object_storage.exists(object_storage.join(theirs, MANIFEST_FILE)):
        return True
    return find(ours).manifest.provenance.created > find(theirs).manifest.provenance.created
