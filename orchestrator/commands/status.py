"""``speechprompt status``: show what a job is doing, on any machine that can read its storage."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra.printable import printable_json
from orchestrator.commands.options import JOB_FILE, JSON, OVERRIDES, closing
from orchestrator.progress import as_text, results_console

if TYPE_CHECKING:
    from orchestrator.job_status import JobStatus
    from workers.tuning.run.status import GangStatus, LaneStatus, Standing

REFRESH_SECONDS = 2.0
SHOWN: tuple[Standing, ...] = ("tuning", "parked", "failed")
"""States of the lanes that get a row each; the others are only counted."""
STATES: tuple[Standing, ...] = ("tuning", "parked", "waiting", "ended", "failed")


@click.command(epilog=closing("status job.yaml", "status job.yaml --watch"))
@JOB_FILE
@OVERRIDES
@JSON
@click.option("--watch", is_flag=True, help="Keep showing it until the job ends.")
def status(job_file: str, overrides: tuple[str, ...], as_json: bool, watch: bool) -> None:
    """Show what a job is doing: what runs, where, since when, its last metric and checkpoint. Needs no Ray."""
    from orchestrator.job import load_job
    from orchestrator.job_status import job_status

    job = load_job(job_file, overrides)
    if as_json:
        click.echo(printable_json(job_status(job).model_dump_json(indent=1)))
        return
    console = results_console()
    now = job_status(job)
    if not watch:
        console.print(status_view(now, datetime.now(UTC)))
        return
    with Live(status_view(now, datetime.now(UTC)), console=console, auto_refresh=False) as live:
        while now.driver.stage != "ended":
            time.sleep(REFRESH_SECONDS)
            now = job_status(job)
            live.update(status_view(now, datetime.now(UTC)), refresh=True)


def status_view(status: JobStatus, now: datetime) -> Group:
    """Return a headline, and a table with a row for each lane that is tuning, parked or failed."""
    driver = status.driver
    counts = Counter(lane.state for gang in status.gangs for lane in gang.lanes)
    # Gangs that have not started have no file.
    counts["waiting"] += max(0, driver.lanes - counts.total())
    doing = f"{driver.stage} for {age(driver.since, now)}"
    life = f", last sign of life {age(status.last_sign, now)} ago"
    if driver.stage == "ended":
        doing, life = f"ended {age(driver.since, now)} ago: {driver.outcome}", ""
    gone = "; the driver seems to be gone, run the job again and it goes on" if status.silent(now) else ""
    lines = [
        f"{status.job}: {doing}; "
        f"submitted {driver.submitted:%Y-%m-%d %H:%M:%S} UTC, "
        f"driver {driver.host} pid {driver.pid}{life}{gone}",
        f"{driver.tasks} tasks, {counts.total()} lanes: "
        + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]),
    ]
    table = Table()
    for heading in ("lane", "state", "step", "valid", "where", "since", "reported", "saved"):
        table.add_column(heading, justify="right" if heading in ("step", "valid") else "left", overflow="fold")
    for gang in status.gangs:
        for lane in gang.lanes:
            if lane.state in SHOWN:
                table.add_row(*_row(gang, lane, now), style="red" if lane.state == "failed" else "")
    errors = [
        as_text(f"{lane.lane}: {lane.error}", style="red") for gang in status.gangs for lane in gang.lanes if lane.error
    ]
    # Tasks without lanes, such as one whose recordings are missing.
    named = {lane.task for gang in status.gangs for lane in gang.lanes if lane.error}
    errors += [as_text(f"{task}: {error}", style="red") for task, error in driver.failures.items() if task not in named]
    return Group(*(as_text(line) for line in lines), *([table] if table.row_count else []), *errors)


def age(moment: datetime, now: datetime) -> str:
    """Return the time since a moment, in the two largest units; 0 if the moment is in the future by another clock."""
    seconds = max(0, round((now - moment).total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _row(gang: GangStatus, lane: LaneStatus, now: datetime) -> list[Text]:
    value = "" if lane.value is None else f"{100 * lane.value:.1f} {lane.metric}"
    saved = "" if gang.checkpoint is None else f"{age(gang.checkpoint, now)} ago"
    cells = [
        lane.lane,
        lane.state,
        f"{lane.step}/{lane.steps}",
        value,
        f"{gang.host} pid {gang.pid} ({gang.device})",
        age(gang.since, now),
        f"{age(gang.updated, now)} ago",
        saved,
    ]
    return [as_text(cell) for cell in cells]
