"""``speechprompt run``: tune, evaluate and publish every task of a job."""

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
from orchestrator.exit_codes import RAY_FAILED, TASKS_FAILED


@click.command(
    epilog=closing("run job.yaml", "run job.yaml --set storage=/scratch --retry-failed", codes=OF_A_JOB),
)
@JOB_FILE
@OVERRIDES
@RETRY_FAILED
@RESTART
@GRACE
def run(job_file: str, overrides: tuple[str, ...], retry_failed: bool, restart: bool, grace: float) -> None:
    """Run a job here, or on the Ray cluster that RAY_ADDRESS names.

    A job that is run again resumes where it stopped: published tasks are verified and kept, unfinished ones continue,
    failed ones stay failed.
    """
    from orchestrator.cluster.interruption import interruptible
    from orchestrator.cluster.session import ray_session
    from orchestrator.planning import make_plan
    from orchestrator.progress import ProgressView, results_console
    from orchestrator.views.tables import results_text

    require_one(retry_failed=retry_failed, restart=restart)
    with interruptible(grace) as interruption:
        planned = make_plan(job_file, overrides)
        with ProgressView() as view, ray_session():
            from orchestrator.driver import run_job

            interruption.listen()
            for note in planned.notes:
                view.line(f"note: {note}")
            end = run_job(planned, retry_failed=retry_failed, restart=restart, view=view, interruption=interruption)
    results_console().print(results_text(end.report))
    if not end.report.complete:
        failed = {row.task for row in end.report.tasks if row.status != "published"}
        sys.exit(RAY_FAILED if failed <= end.lost_with_workers else TASKS_FAILED)
