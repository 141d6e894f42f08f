"""Copy a bundle from one store to another."""

from __future__ import annotations

import re
from collections.abc import Sequence

from infra import object_storage
from infra.errors import BundleError
from workers.bundle.manifest import MANIFEST_FILE
from workers.bundle.publish import Published, store
from workers.bundle.read import fetch, find
from workers.bundle.signing import SIGNATURE_LIMIT, TrustedKey

__all__ = ["pull"]

_SIGNATURE = re.compile(r"signature\.[0-9a-f]{16}\.json")
_MOST_SIGNATURES = 64


def pull(uri: str, directory: str, *, trusted: Sequence[TrustedKey] = ()) -> Published:
    """Copy a bundle and its signatures, byte for byte, to ``directory/<task>/<version>``, the latest there from now on.

    Args:
        uri: absolute; a task's directory, which stands for its latest version, or that of one version.
        directory: absolute; where bundles are to lie.
        trusted: if any, keys by one of which it must be signed.

    Raises:
        UntrustedBundle: it is not signed by one of them.
        BundleError: there is none, or it is damaged or altered.
        StorageError: one of the places cannot be used.
    """
    found = find(uri, trusted=trusted)
    packed = fetch(found.uri, trusted=trusted)
    signatures = [name for name in object_storage.list_files(found.uri) if _SIGNATURE.fullmatch(name)]
    if len(signatures) > _MOST_SIGNATURES:
        raise BundleError(f"{found.uri}: more than {_MOST_SIGNATURES} signatures; remove those that nobody needs")
    contents = {
        name: object_storage.read_bytes(object_storage.join(found.uri, name), limit=SIGNATURE_LIMIT)
        for name in signatures
    }
    published = store(directory, packed)
    # What lies there may be of the same version with another provenance, which these did not sign.
    if find(published.uri).document == packed.files[MANIFEST_FILE]:
        for name, data in contents.items():
            object_storage.write_if_absent(object_storage.join(published.uri, name), data)
    return published
