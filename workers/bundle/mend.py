"""Put right what was damaged after it was published; what lay there is kept beside it, unless it is too large.

A version lies where its content says, so a damaged one would keep that content from ever being published there again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from infra import object_storage
from infra.digest import canonical_json
from infra.errors import BundleError, ObjectNotFound, StorageError, StoreUnreachable
from workers.bundle.format import LATEST_LIMIT, LIMITS, Bundle, PackedBundle, pack, parse_latest, parse_manifest
from workers.bundle.manifest import LATEST_FILE, MANIFEST_FILE, PAYLOAD, Latest
from workers.bundle.publish import Published, store

ASIDE = "damaged"
"""Directory of a task in which damaged files are kept: ``damaged/<version>/<digest>-<name>``."""


def publish_or_mend(root: str, bundle: Bundle) -> Published:
    """`publish`, for whoever has the bundle's content again: files of this version that were damaged are replaced.

    Args:
        root: absolute directory or ``s3://`` prefix of all bundles.
        bundle: what to publish.

    Raises:
        BundleError: tensors and manifest disagree, or something else than this version is damaged.
        StorageError: the place cannot be written.
    """
    packed = pack(bundle)
    try:
        return store(root, packed)
    except StoreUnreachable:
        raise
    except (BundleError, StorageError):
        # A file that has grown beyond what is read of it is refused by the store, not by its reader.
        mended = _mend(root, packed)
        if not mended:
            raise
    return replace(store(root, packed), mended=tuple(mended))


def _mend(root: str, packed: PackedBundle) -> list[str]:
    """Replace what is not as this version has it; returns the files."""
    version = packed.manifest.version
    task_uri = object_storage.join(root, packed.manifest.task.name)
    uri, aside = object_storage.join(task_uri, version), object_storage.join(task_uri, ASIDE, version)
    mended = []
    published = object_storage.exists(object_storage.join(uri, MANIFEST_FILE))
    # The manifest last: until then readers are told what is wrong.
    for name in (*PAYLOAD, MANIFEST_FILE):
        file = object_storage.join(uri, name)
        try:
            found = _Found.at(file, limit=LIMITS[name])
        except ObjectNotFound:
            if published:
                object_storage.write_if_absent(file, packed.files[name])
                mended.append(file)
            continue
        if found.data == packed.files[name] or (name == MANIFEST_FILE and _vouches(found.data, packed, file)):
            continue
        found.replace(packed.files[name], aside)
        mended.append(file)
    return mended + _mend_pointer(task_uri, version, aside)


@dataclass(frozen=True)
class _Found:
    """What lies where a file of a bundle belongs.

    Attributes:
        file: the place.
        data: ``None`` where more than any reader takes lies there, or no file that can be read.
        seen: its version in the store.
    """

    file: str
    data: bytes | None
    seen: str

    @classmethod
    def at(cls, file: str, *, limit: int) -> _Found:
        """Raises ``ObjectNotFound`` where nothing is."""
        try:
            return cls(file, *object_storage.read_versioned(file, limit=limit))
        except (ObjectNotFound, StoreUnreachable):
            raise
        except StorageError:
            return cls(file, None, "")

    def replace(self, data: bytes, aside: str) -> None:
        """Put ``data`` in its place, and it aside, if it is not too large for that."""
        if self.data is None:
            object_storage.write_bytes(self.file, data)
            return
        kept = f"{hashlib.sha256(self.data).hexdigest()[:16]}-{object_storage.basename(self.file)}"
        object_storage.write_if_absent(object_storage.join(aside, kept), self.data)
        object_storage.write_if_version(self.file, data, self.seen)


def _vouches(document: bytes | None, packed: PackedBundle, file: str) -> bool:
    """Whether a manifest is sound, and of the same content; by whom and when it was published may differ."""
    if document is None:
        return False
    try:
        manifest = parse_manifest(document, file=file)
    except BundleError:
        return False
    return manifest.version == packed.manifest.version and manifest.files == packed.manifest.files


def _mend_pointer(task_uri: str, version: str, aside: str) -> list[str]:
    file = object_storage.join(task_uri, LATEST_FILE)
    try:
        found = _Found.at(file, limit=LATEST_LIMIT)
    except ObjectNotFound:
        return []
    if found.data is not None:
        try:
            parse_latest(found.data, file=file)
        except BundleError:
            pass
        else:
            return []
    found.replace(canonical_json(Latest(version=version).model_dump(mode="json")) + b"\n", aside)
    return [file]
