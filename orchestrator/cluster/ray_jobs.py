"""Submission of a job through Ray Jobs, with the log and exit code of its run."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE
from ray._private.runtime_env import packaging
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

import infra
import orchestrator
import task_specs
import workers
from infra import object_storage
from infra.errors import JobError
from infra.redaction import holds_credentials
from orchestrator.cluster.dashboard import dashboard_address, dashboard_client, dashboard_explained
from orchestrator.exit_codes import BAD_INPUT, INTERRUPTED

NEVER_SHIPPED = [".git", ".venv", "**/__pycache__"]
LEFT_BY_A_RUN = ["mlflow.db*", "mlartifacts", "runs", "units", "bundles"]
"""Files that a local run leaves beside its job file; elsewhere these names are shipped."""
NAMED = 3
"""Number of files that the error about a too large directory names."""
MIB = 1 << 20


def working_directory(job_file: str) -> tuple[str | None, str]:
    """Return the directory to ship (``None`` for a job file in S3) and the path of the job file in it.

    Raises:
        JobError: the file does not exist, or is not below the working directory.
    """
    if object_storage.is_s3(job_file):
        return None, job_file
    here, file = Path.cwd(), Path(job_file).resolve()
    if not file.is_file():
        raise JobError(f"{job_file}: there is no such job file; correct the path")
    if not file.is_relative_to(here):
        raise JobError(
            f"{job_file}: not below the working directory, which is shipped; change to the job file's directory"
        )
    return str(here), str(file.relative_to(here))


def excludes(job_file: str) -> list[str]:
    """Return what is not shipped with the working directory, as patterns of ``.gitignore``."""
    beside = "".join(f"{part}/" for part in ("", *Path(job_file).parent.parts))
    return [*NEVER_SHIPPED, *(beside + name for name in LEFT_BY_A_RUN)]


def require_small(directory: str, left_out: list[str]) -> None:
    """Refuse a directory that Ray would pack for a long time and then reject.

    Raises:
        JobError: the directory is too large; it names the largest files.
    """
    sizes: dict[str, int] = {}

    def measure(path: Path) -> None:
        if path.is_file():
            sizes[str(path.relative_to(directory))] = path.stat().st_size

    # Ray's own walk, which obeys the .gitignore and .rayignore of every directory.
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
        f"{directory}: {len(sizes):,} files of {total / MIB:,.0f} MiB would be shipped, but Ray takes at most "
        f"{limit / MIB:,.0f} MiB; list files that the job does not need in .rayignore, the largest are {named}"
    )


POLL_SECONDS = 0.5
SECRET_NAME = re.compile(r"(?i)secret|password|passwd|token|credential|access_key")


def submit_job(
    job_file: str,
    overrides: Sequence[str],
    *,
    address: str | None,
    retry_failed: bool,
    restart: bool,
    grace: float,
    environment: Sequence[str] = (),
    wait: bool = True,
) -> int:
    """Submit ``python -m orchestrator run`` with this code and the directory of the job.

    Credentials are not sent: the cluster has its own.

    Args:
        job_file: local path below the working directory, or ``s3://`` URI.
        overrides: fields to set, as for ``run``.
        address: address of the Ray dashboard; ``None``: that of the environment.
        retry_failed, restart, grace: options of ``run``.
        environment: ``NAME=VALUE`` for each variable that paths in the files use; Ray keeps them in the job's metadata.
        wait: whether to follow the job to its end.

    Returns:
        Exit code of the run, see ``exit_codes``; ``ray job stop`` gives 3.

    Raises:
        JobError: no cluster answers, it refuses the job, credentials would be sent, or the working directory is too
            large or does not hold the job file.
    """
    _refuse_secrets(overrides, environment)
    directory, named = working_directory(job_file)
    command = [sys.executable.rpartition("/")[2], "-m", "orchestrator", "run", named, "--grace", f"{grace:g}"]
    command += [part for override in overrides for part in ("--set", override)]
    command += ["--retry-failed"] if retry_failed else []
    command += ["--restart"] if restart else []
    where = dashboard_address(address)
    client = dashboard_client(address)
    if directory:
        require_small(directory, excludes(named))
    with dashboard_explained(where):
        submitted = client.submit_job(
            entrypoint=shlex.join(command),
            runtime_env={
                **({"working_dir": directory, "excludes": excludes(named)} if directory else {}),
                "py_modules": [_folder(package) for package in (orchestrator, workers, task_specs, infra)],
                "env_vars": _environment(environment),
            },
            metadata={"speechprompt.job": named},
        )
    print(f"submitted {submitted}", file=sys.stderr)  # noqa: T201
    if not wait:
        return 0
    try:
        with dashboard_explained(where):
            asyncio.run(_follow(client, submitted))
            return _exit_code(client, submitted)
    except KeyboardInterrupt:
        print(  # noqa: T201
            f"{submitted} goes on; follow it with 'ray job logs --follow {submitted}', or end it with 'ray job stop "
            f"{submitted}'",
            file=sys.stderr,
        )
        raise


def _refuse_secrets(overrides: Sequence[str], environment: Sequence[str]) -> None:
    """Refuse secrets in a job's command and environment, which Ray shows on its dashboard."""
    for override in overrides:
        if holds_credentials(override):
            raise JobError(
                f"--set {override.partition('=')[0]}: holds credentials, which Ray would store and show; set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the cluster instead"
            )
    for assignment in environment:
        name, _, value = assignment.partition("=")
        if SECRET_NAME.search(name) or holds_credentials(value):
            raise JobError(
                f"--env {name}: holds a secret, which Ray would store and show; set it on the cluster instead"
            )


def _folder(package: object) -> str:
    return str(Path(str(getattr(package, "__file__", ""))).parent)


def _environment(assignments: Sequence[str]) -> dict[str, str]:
    pairs = [assignment.partition("=") for assignment in assignments]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise JobError(f"--env {name}: not an assignment; write NAME=VALUE")
    return {name: value for name, _, value in pairs}


async def _follow(client: JobSubmissionClient, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        print(lines, end="", flush=True)  # noqa: T201


def _exit_code(client: JobSubmissionClient, job: str) -> int:
    details: JobDetails = client.get_job_info(job)
    while not details.status.is_terminal():
        time.sleep(POLL_SECONDS)
        details = client.get_job_info(job)
    if details.status == JobStatus.SUCCEEDED:
        return 0
    if details.status == JobStatus.STOPPED:
        print(f"{job} was stopped; submit it again and it goes on", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    if details.driver_exit_code is None:
        print(f"error: {job} {details.status.value.lower()}: {details.message}", file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    return int(details.driver_exit_code)
