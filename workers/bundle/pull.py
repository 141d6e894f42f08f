"""Copy a bundle from one store to another."""

from __future__ import annotations

from workers.bundle.publish import Published, store
from workers.bundle.read import fetch

__all__ = ["pull"]


def pull(uri: str, directory: str) -> Published:
    """Copy a bundle, byte for byte, to ``directory/<task>/<version>``, and make it the latest there.

    Args:
        uri: absolute; a task's directory, which stands for its latest version, or that of one version.
        directory: absolute; where bundles are to lie.

    Raises:
        BundleError: there is none, or it is damaged or altered.
        StorageError: one of the places cannot be used.
    """
    return store(directory, fetch(uri))
