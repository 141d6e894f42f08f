"""The results page: all text is escaped, and nothing is fetched."""

from __future__ import annotations

from infra.errors import MissingExtra
from infra.printable import printable_lines
from orchestrator.job import Job
from orchestrator.report import JobReport, TaskRow, job_root
from orchestrator.views.results_page.task_view import TaskView, task_view
from orchestrator.views.tables import Columns, baseline_cell, foot, published_cell, source_of
from orchestrator.views.verdicts import difference_cell, loss_line, reason_line, verdict_cell, winner
from workers.job_store.files import OUTCOME
from workers.tuning.results.heard_file import read_heard
from workers.tuning.results.outcome import LaneOutcome, read_outcome
from workers.tuning.results.unit_use_file import read_unit_uses

TEMPLATE = "page.html.jinja"


def results_page(job: Job, report: JobReport) -> str:
    """Return the results of a job as HTML.

    Args:
        job: job whose storage holds the outcomes of lanes.
        report: report of the job's last run.

    Raises:
        MissingExtra: Jinja or matplotlib is not installed.
        StorageError: a lane's files cannot be read.
    """
    lanes = OUTCOME.directory(job_root(job))
    views = []
    for row in report.tasks:
        outcomes = _outcomes(lanes, row)
        heard = read_heard(lanes, outcomes[0]) if outcomes else None
        views.append(task_view(row, outcomes, read_unit_uses(lanes, outcomes), heard))
    return render(report, views)


def render(report: JobReport, views: list[TaskView]) -> str:
    """Return the page with the given views of the report's tasks."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtra("jinja2", "train") from error
    environment = Environment(
        loader=PackageLoader("orchestrator.views.results_page", ""),
        autoescape=True,
        finalize=lambda value: printable_lines(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns = Columns.of(report)
    return environment.get_template(TEMPLATE).render(
        report=report,
        views=views,
        columns=columns,
        source=source_of(columns),
        published_cell=published_cell,
        baseline_cell=baseline_cell,
        foot=foot(report, columns),
        verdict_cell=verdict_cell,
        difference_cell=difference_cell,
        winner=winner,
        loss_line=loss_line,
        reason_line=reason_line,
    )


def _outcomes(lanes: str, row: TaskRow) -> list[LaneOutcome]:
    found = [read_outcome(lanes, key) for key in row.lanes]
    return [outcome for outcome in found if outcome is not None]
