"""The task specs that come with this package: one for each published data set."""

from __future__ import annotations

import fnmatch
import posixpath
from pathlib import Path

from infra import object_storage

DIRECTORY = "task_specs"
"""Jobs name a packaged spec as ``task_specs/<name>.yaml``."""


def packaged_specs(pattern: str = f"{DIRECTORY}/*.yaml") -> list[str]:
    """Paths of the packaged specs that ``pattern``, which ends with ``task_specs/<name>.yaml``, names; sorted."""
    head, name = posixpath.split(pattern)
    if object_storage.is_s3(pattern) or posixpath.basename(head) != DIRECTORY:
        return []
    return sorted(str(path) for path in _here().glob("*.yaml") if fnmatch.fnmatchcase(path.name, name))


def packaged_spec(name: str) -> str | None:
    """The packaged spec of this name, with or without its ending."""
    wanted = name.removesuffix(".yaml").replace("-", "_")
    return next((path for path in packaged_specs() if Path(path).stem == wanted), None)


def base_of(uri: str) -> str:
    """The directory that relative paths in a spec start from: its own, but the working directory for packaged ones."""
    directory = object_storage.parent(uri)
    return str(Path.cwd()) if directory == str(_here()) else directory


def _here() -> Path:
    return Path(__file__).parent
