"""Packaged task specs, one for each published data set."""

from __future__ import annotations

import fnmatch
import posixpath
from pathlib import Path

from infra import object_storage

DIRECTORY = "task_specs"
"""Directory in the names of packaged specs: ``task_specs/<name>.yaml``."""


def names_packaged(pattern: str) -> bool:
    """Return whether a path or glob has the form of a packaged spec's name."""
    directory = posixpath.basename(posixpath.dirname(pattern))
    return directory == DIRECTORY and not object_storage.is_s3(pattern)


def packaged_specs(pattern: str = f"{DIRECTORY}/*.yaml") -> list[str]:
    """Return the paths of the packaged specs that match ``pattern`` (``[...]task_specs/<name>.yaml``), sorted."""
    if not names_packaged(pattern):
        return []
    name = posixpath.basename(pattern)
    return sorted(str(path) for path in _here().glob("*.yaml") if fnmatch.fnmatchcase(path.name, name))


def packaged_spec(name: str) -> str | None:
    """Return the path of the packaged spec with a name, which may end with ``.yaml``; ``None`` if there is none."""
    wanted = name.removesuffix(".yaml").replace("-", "_")
    return next((path for path in packaged_specs() if Path(path).stem == wanted), None)


def base_of(uri: str) -> str:
    """Return the base of relative paths in a spec: its directory, or the working directory for a packaged spec."""
    directory = object_storage.parent(uri)
    return str(Path.cwd()) if directory == str(_here()) else directory


def _here() -> Path:
    return Path(__file__).parent
