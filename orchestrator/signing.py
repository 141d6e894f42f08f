"""Jobs sign what they publish, if the process that drives them has a key."""

from __future__ import annotations

import os
from pathlib import Path

from infra import object_storage
from workers.bundle.read import verify
from workers.bundle.signing import SigningKey

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


def sign_published(uri: str, key: SigningKey | None) -> None:
    """Sign a bundle after reading it as any user would; without a key do nothing.

    Raises:
        BundleError: it is damaged, or another signature lies there.
        StorageError: the place cannot be used.
    """
    if key is not None:
        found = verify(uri)
        key.sign(found.uri, found.document)
