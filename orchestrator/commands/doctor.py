"""``speechprompt doctor``: check the machine, and what a job names, before anything runs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace

import click
from rich.table import Table
from rich.text import Text

from infra.redaction import redacted
from orchestrator.commands.options import JSON, OVERRIDES, closing
from orchestrator.exit_codes import TASKS_FAILED
from orchestrator.progress import as_text, results_console

MARKS = {"good": ("ok", "green"), "warning": ("!", "yellow"), "bad": ("bad", "red")}


@click.command(epilog=closing("doctor", "doctor job.yaml --json", codes={TASKS_FAILED: "a check failed"}))
@click.argument("job_file", metavar="[JOB.yaml]", required=False)
@OVERRIDES
@JSON
def doctor(job_file: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check this machine, and the backbone, stores and servers that a job names.

    It writes one small object to each S3 store, to check that the store obeys conditional writes.
    """
    from orchestrator.doctor import examine
    from orchestrator.job import load_job

    job = None if job_file is None else load_job(job_file, overrides)
    findings = [replace(finding, seen=redacted(finding.seen)) for finding in examine(job)]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        for finding in findings:
            mark, style = MARKS[finding.verdict]
            table.add_row(Text(mark, style=style), as_text(finding.what), as_text(finding.seen))
        results_console().print(table)
    if any(finding.verdict == "bad" for finding in findings):
        sys.exit(TASKS_FAILED)
