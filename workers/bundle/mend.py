"""Put right what was damaged after it was published; what lay there is kept beside it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from infra import object_storage
from infra.errors import BundleError, ObjectNotFound
from workers.backbone.fingerprint import canonical_json
from workers.bundle.format import Bundle, PackedBundle, pack, parse_latest, parse_manifest
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
    except BundleError:
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
            data, seen = object_storage.read_versioned(file)
        except ObjectNotFound:
            if published:
                object_storage.write_if_absent(file, packed.files[name])
                mended.append(file)
            continue
        if data == packed.files[name] or (name == MANIFEST_FILE and _vouches(data, packed, file)):
            continue
        _keep(aside, name, data)
        object_storage.write_if_version(file, packed.files[name], seen)
        mended.append(file)
    return mended + _mend_pointer(task_uri, version, aside)


def _vouches(document: bytes, packed: PackedBundle, file: str) -> bool:
    """Whether a manifest is sound, and of the same content; by whom and when it was published may differ."""
    try:
        manifest = parse_manifest(document, file=file)
    except BundleError:
        return False
    return manifest.version == packed.manifest.version and manifest.files == packed.manifest.files


def _mend_pointer(task_uri: str, version: str, aside: str) -> list[str]:
    file = object_storage.join(task_uri, LATEST_FILE)
    try:
        data, seen = object_storage.read_versioned(file)
    except ObjectNotFound:
        return []
    try:
        parse_latest(data, file=file)
    except BundleError:
        _keep(aside, LATEST_FILE, data)
        pointer = canonical_json(Latest(version=version).model_dump(mode="json")) + b"\n"
        object_storage.write_if_version(file, pointer, seen)
        return [file]
    return []


def _keep(aside: str, name: str, data: bytes) -> None:
    place = object_storage.join(aside, f"{hashlib.sha256(data).hexdigest()[:16]}-{name}")
    object_storage.write_if_absent(place, data)
