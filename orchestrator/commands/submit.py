"""``speechprompt submit``: run a job on a cluster through Ray Jobs."""

from __future__ import annotations

import sys

import click

from orchestrator.cluster.ray_jobs import submit_job
from orchestrator.commands.options import GRACE, JOB_FILE, OVERRIDES, RESTART, require_one


@click.command()
@JOB_FILE
@OVERRIDES
@click.option("--address", help="Address of the Ray dashboard; default: RAY_API_SERVER_ADDRESS or RAY_ADDRESS.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed in an earlier run.")
@click.option(
    "--env", "environment", multiple=True, metavar="NAME=VALUE", help="Set a variable that paths use; no secrets."
)
@RESTART
@GRACE
@click.option("--no-wait", is_flag=True, help="Return as soon as the job is submitted.")
def submit(
    job_file: str,
    overrides: tuple[str, ...],
    address: str | None,
    retry_failed: bool,
    environment: tuple[str, ...],
    restart: bool,
    grace: float,
    no_wait: bool,
) -> None:
    """Run a job on a cluster through Ray Jobs, and end with its exit code."""

    require_one(retry_failed=retry_failed, restart=restart)
    sys.exit(
        submit_job(
            job_file,
            overrides,
            address=address,
            retry_failed=retry_failed,
            restart=restart,
            grace=grace,
            environment=environment,
            wait=not no_wait,
        )
    )
