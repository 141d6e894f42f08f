"""Finding the files that a path or glob names, on disk or in S3."""

from __future__ import annotations

import fnmatch
import glob
from pathlib import Path

from infra import object_storage
from infra.errors import StorageError
from task_specs.near_paths import path_remedy
from task_specs.packaged import names_packaged, packaged_specs
from task_specs.problems import ProblemList


def find_files(pattern: str, base: str, problems: ProblemList, *, named_in: str, field: str) -> list[str]:
    """Return the URIs of the files that match ``pattern``, sorted; a pattern without matches is a problem.

    The pattern's variables must be expanded. A path that exists is taken literally, even with ``*`` or ``[`` in its
    name. ``task_specs/<name>.yaml`` names a spec of this package if there is no such file.
    """
    try:
        absolute = object_storage.resolve(pattern, base)
        if object_storage.exists(absolute):
            return [absolute]
        if glob.has_magic(absolute):
            found = _in_s3(absolute) if object_storage.is_s3(absolute) else _on_disk(absolute)
            if found:
                return found
            if packaged := packaged_specs(absolute):
                return packaged
            problems.add(named_in, field, f"{pattern!r} matches no file", "correct the pattern")
        elif not object_storage.is_s3(absolute) and Path(absolute).is_dir():
            problems.add(named_in, field, f"{pattern!r} is a directory", f"write {pattern.rstrip('/')}/*.yaml")
        elif packaged := packaged_specs(absolute):
            return packaged
        else:
            known = "see 'speechprompt tasks' for the known names"
            remedy = known if names_packaged(absolute) else path_remedy(absolute)
            problems.add(named_in, field, f"there is no file {pattern!r}", remedy)
    except StorageError as error:
        problems.add(named_in, field, f"cannot be searched ({error})", "make the place readable")
    return []


def _on_disk(pattern: str) -> list[str]:
    # Unlike pathlib's, this glob skips hidden files, such as macOS's `._name`.
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207
    return sorted(path for path in found if Path(path).is_file())


def _in_s3(pattern: str) -> list[str]:
    """List the directory above the first wildcard once, and filter it."""
    parts = pattern.split("/")
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = "/".join(parts[:fixed])
    keys = object_storage.list_files(root)
    return [object_storage.join(root, key) for key in keys if _matches(key.split("/"), parts[fixed:])]


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Return whether a path matches a glob, part by part; ``**`` matches any number of parts."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
