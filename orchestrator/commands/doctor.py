"""``speechprompt doctor``: look at the machine, and at what a job names, before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import click
from rich.table import Table
from rich.text import Text

from infra.redaction import redacted
from orchestrator.doctor import Verdict, examine
from orchestrator.exit_codes import DONE, TASKS_FAILED
from orchestrator.job import load_job
from orchestrator.progress import as_text, results_console

MARKS: dict[Verdict, tuple[str, str]] = {"good": ("ok", "green"), "warning": ("!", "yellow"), "bad": ("bad", "red")}


def doctor(job_file: str | None, overrides: tuple[str, ...], *, as_json: bool) -> int:
    """Print all findings; the exit code is 1 if one of them is bad."""
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
    return TASKS_FAILED if any(finding.verdict == "bad" for finding in findings) else DONE
