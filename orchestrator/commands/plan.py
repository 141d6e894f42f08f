"""``speechprompt plan``: check a job and show what would run."""

from __future__ import annotations

import click

from orchestrator.commands.options import JOB_FILE, JSON, OVERRIDES, closing


@click.command(epilog=closing("plan job.yaml", "plan job.yaml --no-probe --json"))
@JOB_FILE
@OVERRIDES
@click.option("--no-probe", is_flag=True, help="Do not measure how many lanes should share a forward pass.")
@JSON
def plan(job_file: str, overrides: tuple[str, ...], no_probe: bool, as_json: bool) -> None:
    """Check everything a job names, list all errors at once, and show what would run, without starting it.

    With gang: auto it takes some optimizer steps in this process, for at most ten seconds.
    """
    from orchestrator.planning import make_plan
    from orchestrator.progress import results_console
    from orchestrator.tuning.gang_width import measure_here
    from orchestrator.views.plan import plan_json, show_plan

    planned = make_plan(job_file, overrides)
    measured = None
    if planned.job.gang == "auto" and not no_probe:
        measured = measure_here(planned)
    if as_json:
        click.echo(plan_json(planned, measured))
    else:
        show_plan(planned, results_console(), measured)
