"""``speechprompt tokenize``: fill a job's unit cache."""

from __future__ import annotations

import click

from orchestrator.commands.options import JOB_FILE, OVERRIDES, closing
from orchestrator.exit_codes import INTERRUPTED, RAY_FAILED


@click.command(
    epilog=closing(
        "tokenize job.yaml",
        codes={INTERRUPTED: "it was interrupted, and resumes when it is run again", RAY_FAILED: "Ray failed"},
    )
)
@JOB_FILE
@OVERRIDES
def tokenize(job_file: str, overrides: tuple[str, ...]) -> None:
    """Tokenize the recordings of all tasks of a job into its unit cache, and nothing else."""
    from orchestrator.cluster.interruption import interruptible
    from orchestrator.cluster.session import ray_session
    from orchestrator.planning import make_plan
    from orchestrator.progress import ProgressView
    from orchestrator.recordings.examples import tokenize_tasks

    with interruptible(again="tokenize again and it goes on") as interruption:
        planned = make_plan(job_file, overrides)
        with ProgressView() as view, ray_session():
            interruption.listen()
            report = tokenize_tasks(planned, view)
    report.check([*report.units, *report.quarantined])
    click.echo(
        f"{len(report.units)} clips have units in {planned.job.units}: {report.computed} computed, "
        f"{report.cached} from the cache; {len(report.quarantined)} quarantined"
    )
