"""Check that a store obeys conditional writes, which keep two writers of one name apart."""

from __future__ import annotations

import secrets

from infra import object_storage
from infra.errors import StorageError

PROBE = ".speechprompt-probe"
"""Name of a small object that stays, so that the check needs no permission to delete."""
_NEVER = '"00000000000000000000000000000000"'
_ATTEMPTS = 5


def require_conditional_writes(place: str) -> None:
    """Try both conditions on a small object below ``place``; local directories always obey them.

    Raises:
        StorageError: the store ignores a condition, or cannot be used.
    """
    if not object_storage.is_s3(place):
        return
    probe = object_storage.join(place, PROBE)
    object_storage.write_if_absent(probe, _fresh())
    if object_storage.write_if_absent(probe, _fresh()):
        raise _ignored(place, "If-None-Match")
    if object_storage.write_if_version(probe, _fresh(), _NEVER):
        raise _ignored(place, "If-Match")
    for _ in range(_ATTEMPTS):
        # Another check may write in between.
        if object_storage.write_if_version(probe, _fresh(), object_storage.read_versioned(probe)[1]):
            return
    raise StorageError(f"{place} cannot be used: the store refuses every If-Match", remedy="use another store")


def _fresh() -> bytes:
    return secrets.token_hex(16).encode()


def _ignored(place: str, condition: str) -> StorageError:
    return StorageError(
        f"{place} cannot be used: the store ignores {condition}, which keeps two writers apart",
        remedy="use another store",
    )
