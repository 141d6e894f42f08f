"""Where tracking data waits for MLflow."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from infra import object_storage


def spool_directory(root: str, name: str) -> str:
    """A local directory: in the job's own storage where that is local, else this user's temporary one.

    Args:
        root: directory of the job, local or S3.
        name: of the job.
    """
    if object_storage.is_s3(root):
        return str(Path(tempfile.gettempdir()) / f"speechprompt-spool-{os.getuid()}" / name)
    return object_storage.join(root, "spool")
