"""Why gangs failed, kept beside their checkpoints, so that only who asks for it has them tried again."""

from __future__ import annotations

import json

from infra import object_storage
from infra.errors import ObjectNotFound

NOTE_FILE = "failure.json"


def noted_failure(directory: str) -> str | None:
    """Why a gang failed in an earlier submission; ``None`` if it did not.

    Args:
        directory: of the gang.
    """
    try:
        cause = json.loads(object_storage.read_bytes(object_storage.join(directory, NOTE_FILE)))
    except ObjectNotFound:
        return None
    return None if cause is None else str(cause)


def note_failure(directory: str, cause: str | None) -> None:
    """Remember why a gang failed, or with ``None`` that it may be tried again."""
    object_storage.write_bytes(object_storage.join(directory, NOTE_FILE), json.dumps(cause).encode())
