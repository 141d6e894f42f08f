"""Signing of published bundles, if the driver's environment names a key."""

from __future__ import annotations

import os
from pathlib import Path

from infra import object_storage
from infra.errors import BundleError, UntrustedBundle
from workers.bundle.manifest import MANIFEST_FILE
from workers.bundle.publish import Published
from workers.bundle.read import FoundBundle, verify
from workers.bundle.signing import SigningKey, check_signature

SIGNING_KEY = "SPEECHPROMPT_SIGNING_KEY"
"""Environment variable with the path of a private key. The key stays in the driver: no worker, checkpoint or log has
it."""


def signing_key() -> SigningKey | None:
    """Read the key that the environment names; ``None`` if it names none.

    Raises:
        InputError: the file does not hold a private key.
        MissingExtra: ``cryptography`` is not installed.
        StorageError: the file cannot be read.
    """
    path = os.environ.get(SIGNING_KEY)
    return SigningKey.read(object_storage.resolve(path, str(Path.cwd()))) if path else None


def sign_published(published: Published, key: SigningKey | None) -> None:
    """Verify and sign a published bundle; without a key do nothing.

    Raises:
        BundleError: the bundle is damaged, its ``bundle.json`` is not what the job wrote, or it has another signature.
        StorageError: the bundle's store cannot be used.
    """
    if key is None:
        return
    found = verify(published.uri)
    if found.document == published.document:
        key.sign(found.uri, published.document)
    elif not _is_signed(found, key):
        raise BundleError(
            f"{found.uri}/{MANIFEST_FILE} names another provenance than this job: it was altered, or another job has "
            "published this bundle before; check it with 'speechprompt bundle inspect' and sign it with 'bundle sign'"
        )


def _is_signed(found: FoundBundle, key: SigningKey) -> bool:
    """Return whether this key has signed these bytes before."""
    try:
        check_signature(found.uri, found.document, [key.trusted])
    except UntrustedBundle:
        return False
    return True
