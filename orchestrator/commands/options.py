"""Arguments and options of several commands."""

from __future__ import annotations

import click

from orchestrator.cluster.interruption import GRACE_SECONDS
from orchestrator.exit_codes import (
    BAD_INPUT,
    DONE,
    FAULT,
    INTERRUPTED,
    RAY_FAILED,
    READER_GONE,
    TAKEN_OVER,
    TASKS_FAILED,
)

JOB_FILE = click.argument("job_file", metavar="JOB.yaml")
OVERRIDES = click.option(
    "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Set a field of the file, such as storage=DIR."
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
JSON_HELP = "Print JSON, for programs."
JSON = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)


RETRY_FAILED = click.option("--retry-failed", is_flag=True, help="Try again what failed in an earlier run.")

OF_A_JOB = {
    DONE: "every task is published",
    TASKS_FAILED: "some tasks failed",
    BAD_INPUT: "bad input",
    INTERRUPTED: "the job was interrupted; it resumes when it is run again",
    TAKEN_OVER: "another submission has taken it over",
    RAY_FAILED: "Ray did not start, or ended, or tasks failed only because their workers died",
    FAULT: "internal error",
}
"""Exit codes of commands that run a job."""
USUAL = {DONE: "done", BAD_INPUT: "bad input", READER_GONE: "the reader of the output is gone", FAULT: "internal error"}


def closing(*examples: str, codes: dict[int, str] | None = None) -> str:
    """Return the end of a help page.

    Args:
        examples: command lines without ``speechprompt``.
        codes: exit codes besides the usual ones, which they replace.
    """
    meanings = dict(sorted({**USUAL, **(codes or {})}.items()))
    parts = [
        "\b\nExamples:",
        *(f"  speechprompt {example}" for example in examples),
        "\n\b\nExit codes:",
        *(f"  {code:>3}  {meaning}" for code, meaning in meanings.items()),
    ]
    return "\n".join(parts)


def require_one(*, retry_failed: bool, restart: bool) -> None:
    """Refuse ``--restart`` together with ``--retry-failed``.

    Raises:
        click.UsageError: both were given.
    """
    if retry_failed and restart:
        raise click.UsageError("--restart also tunes failed lanes again; leave out --retry-failed")
