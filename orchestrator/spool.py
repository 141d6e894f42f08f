"""Where tracking data waits for MLflow."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from infra import object_storage
from infra.errors import StorageError, TrackingError
from infra.private_directory import private_directory


def spool_directory(root: str, name: str) -> str:
    """A local directory that is this user's alone, and the same at every submission, which sends what is left there.

    It lies in the job's own storage where that is local and nobody else can write it, else in the temporary directory.

    Args:
        root: directory of the job, local or S3.
        name: of the job.

    Raises:
        TrackingError: another user was first in the temporary directory.
    """
    if not object_storage.is_s3(root):
        place = Path(object_storage.join(root, "spool")).absolute()
        # What a team shares is no place for what is sent unasked; a storage that cannot be used is reported later.
        with suppress(StorageError, OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            return str(private_directory(place))
    place = Path(tempfile.gettempdir()).absolute() / f"speechprompt-spool-{os.getuid()}"
    try:
        private_directory(place)
        return str(private_directory(place / name))
    except StorageError as error:
        reason = str(error).rpartition("; ")[0]
        raise TrackingError(
            f"{reason}; set TMPDIR to a directory of your own, in which events wait for MLflow"
        ) from error
