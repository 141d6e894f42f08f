"""``speechprompt run``: tune, measure and publish every task of a job."""

from __future__ import annotations

import sys

import click

from orchestrator.cluster.interruption import interruptible
from orchestrator.cluster.session import ray_session
from orchestrator.commands.options import GRACE, JOB_FILE, OVERRIDES, RESTART, require_one
from orchestrator.exit_codes import RAY_FAILED, TASKS_FAILED
from orchestrator.planning import make_plan
from orchestrator.progress import ProgressView, results_console
from orchestrator.views.tables import results_text


@click.command()
@JOB_FILE
@OVERRIDES
@click.option("--retry-failed", is_flag=True, help="Take up again what failed in an earlier run.")
@RESTART
@GRACE
def run(job_file: str, overrides: tuple[str, ...], retry_failed: bool, restart: bool, grace: float) -> None:
    """Run a job here, or on the Ray cluster that RAY_ADDRESS names.

    Submitting a job again resumes it where it stopped: published tasks are verified and kept, unfinished ones
    continue, failed ones stay as they are.

    The exit code is 0 when every task is published, 1 when some failed, 2 for bad input, 3 when the job was
    interrupted, 4 when another submission has taken it over, 5 when Ray did not start, when it ended, or when tasks
    failed only because their workers died, and 70 for a fault of this program.
    """
    require_one(retry_failed=retry_failed, restart=restart)
    with interruptible(grace) as interruption:
        planned = make_plan(job_file, overrides)
        with ProgressView() as view, ray_session():
            # It imports MLflow, for which nobody waits whose job is refused.
            from orchestrator.driver import run_job

            interruption.listen()
            for note in planned.notes:
                view.line(f"note: {note}")
            end = run_job(planned, retry_failed=retry_failed, restart=restart, view=view, interruption=interruption)
    results_console().print(results_text(end.report))
    if not end.report.complete:
        failed = {row.task for row in end.report.tasks if row.status != "published"}
        sys.exit(RAY_FAILED if failed <= end.lost_with_workers else TASKS_FAILED)
