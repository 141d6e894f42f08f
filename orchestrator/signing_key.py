"""Jobs sign what they publish, if the process that drives them has a key."""

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
"""Names the file of a private key. The key stays in the driver: no worker, checkpoint or log sees it."""


def signing_key() -> SigningKey | None:
    """The key that the environment names.

    Raises:
        InputError: the file holds none.
        MissingExtra: ``cryptography`` is not installed.
        StorageError: the file cannot be read.
    """
    path = os.environ.get(SIGNING_KEY)
    return SigningKey.read(object_storage.resolve(path, str(Path.cwd()))) if path else None


def sign_published(published: Published, key: SigningKey | None) -> None:
    """Sign what a job has published, after reading it as any user would; without a key do nothing.

    Raises:
        BundleError: it is damaged, its ``bundle.json`` is not the one that the job has written, or another signature
            lies there.
        StorageError: the place cannot be used.
    """
    if key is None:
        return
    found = verify(published.uri)
    if found.document == published.document:
        key.sign(found.uri, published.document)
    elif not _is_signed(found, key):
        raise BundleError(
            f"{found.uri}/{MANIFEST_FILE} says another provenance than this job: it was altered, or another job "
            "published the same before; look at it with 'speechprompt bundle inspect' and sign it with 'bundle sign'"
        )


def _is_signed(found: FoundBundle, key: SigningKey) -> bool:
    """Whether whoever has the key has signed these bytes before."""
    try:
        check_signature(found.uri, found.document, [key.trusted])
    except UntrustedBundle:
        return False
    return True
