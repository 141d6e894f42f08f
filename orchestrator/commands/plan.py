"""``speechprompt plan``: check a job and show what would run."""

from __future__ import annotations

import click

from orchestrator.commands.options import JOB_FILE, OVERRIDES
from orchestrator.planning import make_plan
from orchestrator.progress import results_console
from orchestrator.tuning.gang_width import measure_here
from orchestrator.views.plan import show_plan


@click.command()
@JOB_FILE
@OVERRIDES
@click.option("--no-probe", is_flag=True, help="Do not measure how many lanes should share a forward pass.")
def plan(job_file: str, overrides: tuple[str, ...], no_probe: bool) -> None:
    """Check everything a job names, list all errors at once, and show what would run, without starting it.

    With gang: auto it takes some optimizer steps in this process, for at most ten seconds.
    """
    planned = make_plan(job_file, overrides)
    measured = None
    if planned.job.gang == "auto" and not no_probe:
        measured = measure_here(planned)
    show_plan(planned, results_console(), measured)
