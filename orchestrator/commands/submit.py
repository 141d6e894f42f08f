"""``speechprompt submit``: run a job on a cluster through Ray Jobs."""

from __future__ import annotations

import sys

import click

from orchestrator.commands.options import (
    GRACE,
    JOB_FILE,
    OF_A_JOB,
    OVERRIDES,
    RESTART,
    RETRY_FAILED,
    closing,
    require_one,
)


@click.command(
    epilog=closing("submit job.yaml --address http://ray-head:8265", "submit job.yaml --no-wait", codes=OF_A_JOB)
)
@JOB_FILE
@OVERRIDES
@click.option("--address", help="Address of the Ray dashboard; default: RAY_API_SERVER_ADDRESS or RAY_ADDRESS.")
@RETRY_FAILED
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
    from orchestrator.cluster.ray_jobs import submit_job

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
