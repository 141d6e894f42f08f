"""The task specs that come with this package: one for each published data set."""

from __future__ import annotations

import fnmatch
import posixpath
from pathlib import Path

from infra import object_storage

DIRECTORY = "task_specs"
"""Jobs name a packaged spec as ``task_specs/<name>.yaml``."""


def names_packaged(pattern: str) -> bool:
    """Whether a path or glob is of the form in which jobs name packaged specs."""
    directory = posixpath.basename(posixpath.dirname(pattern))
    return directory == DIRECTORY and not object_storage.is_s3(pattern)


def packaged_specs(pattern: str = f"{DIRECTORY}/*.yaml") -> list[str]:
    """Paths of the packaged specs that ``pattern``, which ends with ``task_specs/<name>.yaml``, names; sorted."""
    if not names_packaged(pattern):
        return []
    name = posixpath.basename(pattern)
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
