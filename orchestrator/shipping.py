"""What of the working directory goes to a cluster with a job."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE
from ray._private.runtime_env import packaging

from infra import object_storage
from infra.errors import JobError

NEVER_SHIPPED = [".git", ".venv", "**/__pycache__"]
LEFT_BY_A_RUN = ["mlflow.db*", "mlartifacts", "runs", "units", "bundles"]
"""What a local run leaves beside its job file; elsewhere these are names like any other."""
NAMED = 3
"""Files that are named where a directory is too large."""
MIB = 1 << 20


def working_directory(job_file: str) -> tuple[str | None, str]:
    """The directory to ship, and the job file's name in it.

    Raises:
        JobError: the file is not there, or not below the working directory.
    """
    if object_storage.is_s3(job_file):
        return None, job_file
    here, file = Path.cwd(), Path(job_file).resolve()
    if not file.is_file():
        raise JobError(f"{job_file}: there is no such job file; correct the path")
    if not file.is_relative_to(here):
        raise JobError(
            f"{job_file}: not below the working directory, which is what is shipped; change to its directory"
        )
    return str(here), str(file.relative_to(here))


def excludes(job_file: str) -> list[str]:
    """What is not shipped with the working directory, as patterns of ``.gitignore``."""
    beside = "".join(f"{part}/" for part in ("", *Path(job_file).parent.parts))
    return [*NEVER_SHIPPED, *(beside + name for name in LEFT_BY_A_RUN)]


def require_small(directory: str, left_out: list[str]) -> None:
    """Refuse a directory that Ray would pack for long and then not take.

    Raises:
        JobError: which files are the largest.
    """
    sizes: dict[str, int] = {}

    def measure(path: Path) -> None:
        if path.is_file():
            sizes[str(path.relative_to(directory))] = path.stat().st_size

    # Ray's own walk, since a file counts unless a .gitignore or .rayignore of any directory above it leaves it out.
    packaging._dir_travel(
        Path(directory),
        [packaging._get_excludes(Path(directory), left_out)],
        measure,
        include_gitignore=os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1",
        logger=logging.getLogger("speechprompt.shipping"),
    )
    total, limit = sum(sizes.values()), packaging.GCS_STORAGE_MAX_SIZE
    if total < limit:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:NAMED]
    named = ", ".join(f"{name} ({sizes[name] / MIB:,.0f} MiB)" for name in largest)
    raise JobError(
        f"{directory}: {len(sizes):,} files of {total / MIB:,.0f} MiB would be shipped, and Ray takes "
        f"{limit / MIB:,.0f} MiB; write into a .rayignore there what the job does not need, the largest being {named}"
    )
