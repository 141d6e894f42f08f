"""Arguments and options that several commands take."""

from __future__ import annotations

import click

from orchestrator.cluster.interruption import GRACE_SECONDS

JOB_FILE = click.argument("job_file", metavar="JOB.yaml")
OVERRIDES = click.option(
    "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Set a field of the file, such as tracking=URI."
)

GRACE = click.option(
    "--grace",
    type=click.FloatRange(min=0, min_open=True),
    default=GRACE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="On SIGTERM, Ctrl-C or a closed terminal, end within this time; what runs is saved first. A second signal "
    "ends at once.",
)

RESTART = click.option(
    "--restart", is_flag=True, help="Begin anew: tune every lane again, from its first step. Published bundles stay."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def require_one(*, retry_failed: bool, restart: bool) -> None:
    """Refuse to begin anew and to retry at once.

    Raises:
        click.UsageError: both were asked for.
    """
    if retry_failed and restart:
        raise click.UsageError("--restart tunes failed lanes again too; leave out --retry-failed")
