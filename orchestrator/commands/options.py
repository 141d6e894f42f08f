"""Arguments and options of several commands."""

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
    help="Time to save running work and end after SIGTERM, Ctrl-C or a closed terminal; a second signal ends the job "
    "at once.",
)

RESTART = click.option(
    "--restart", is_flag=True, help="Tune every lane again from its first step; published bundles stay."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def require_one(*, retry_failed: bool, restart: bool) -> None:
    """Refuse ``--restart`` together with ``--retry-failed``.

    Raises:
        click.UsageError: both were given.
    """
    if retry_failed and restart:
        raise click.UsageError("--restart also tunes failed lanes again; leave out --retry-failed")
