"""Tables that compare the prompts of a job with its baselines and with published results."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.printable import markdown_text, spreadsheet_cell
from orchestrator.progress import as_text
from orchestrator.report import JobReport, TaskRow, report_table
from orchestrator.views.verdicts import any_verdict, counts_line, difference_cell, verdict_cell, verdict_lines, winner
from task_specs.metric import lower_is_better
from task_specs.published import SYSTEMS, System, published_figures
from workers.baselines.kinds import BASELINES
from workers.baselines.verdict import TaskVerdict

FAILED = "failed"
LEFT = ("task", "metric", "recipe", "verdict")
"""Columns of words, which stand on the left."""


VERDICT = (
    "verdict", "verdict_against", "difference", "difference_low", "difference_high", "margin", "p_holm", "no_verdict",
)  # fmt: skip
"""Columns of the CSV table."""


@dataclass(frozen=True)
class Columns:
    """What a report has to compare with, over all its tasks.

    Attributes:
        baselines, systems: baselines and published systems.
        verdicts: whether prompts were compared with a baseline.
    """

    baselines: tuple[str, ...]
    systems: tuple[System, ...]
    verdicts: bool

    @classmethod
    def of(cls, report: JobReport) -> Columns:
        """Return what at least one task of the report has."""
        return cls(
            tuple(kind for kind in BASELINES if any(kind in row.baselines for row in report.tasks)),
            tuple(system for system in SYSTEMS if any(_published(row, system) is not None for row in report.tasks)),
            any_verdict(report.tasks),
        )

    def __bool__(self) -> bool:
        return bool(self.baselines or self.systems)


def results_text(report: JobReport) -> Group:
    """Return what a terminal shows: the results of each task, the comparison, and why baselines failed."""
    columns = Columns.of(report)
    parts: list[RenderableType] = [report_table(report)]
    if columns:
        parts += [Text(), comparison_table(report, columns)]
    if columns.systems:
        parts.append(as_text(source_of(columns)))
    return Group(*parts, *(as_text(line) for line in [*foot(report, columns), *failed_baselines(report.tasks)]))


def foot(report: JobReport, columns: Columns) -> list[str]:
    """Return what is said of the verdicts below a table."""
    return [counts_line(report.tasks), *verdict_lines(report.tasks)] if columns.verdicts else []


def comparison_table(report: JobReport, columns: Columns) -> Table:
    """Return the table of test metrics side by side."""
    table = Table(title="test: prompt, baselines, published", title_justify="left")
    table.add_column("task", no_wrap=True)
    for heading in _headings(columns)[1:]:
        table.add_column(heading, justify="left" if heading in LEFT else "right")
    if columns.verdicts:
        table.caption = "*: significantly better"
        table.caption_justify = "left"
    for row in report.tasks:
        best = winner(row)
        cells = zip(_headings(columns), _cells(row, columns), strict=True)
        table.add_row(*(as_text(f"{cell}*" if heading == best else cell) for heading, cell in cells))
    return table


def source_of(columns: Columns) -> str:
    """Return the source of published results; empty if there are none."""
    return f"{', '.join(columns.systems)}: {published_figures().source}" if columns.systems else ""


def as_markdown(report: JobReport) -> str:
    """Return the comparison as a Markdown table."""
    columns = Columns.of(report)
    headings = _headings(columns)
    lines = [headings, ["---" if heading in LEFT else "---:" for heading in headings]]
    for row in report.tasks:
        best = winner(row)
        cells = zip(headings, map(markdown_text, _cells(row, columns)), strict=True)
        lines.append([f"**{cell}**" if heading == best else cell for heading, cell in cells])
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    below = [source_of(columns)] if columns.systems else []
    return "\n".join([text, *(f"{line}\n" for line in [*below, *map(markdown_text, foot(report, columns))])])


def as_csv(report: JobReport) -> str:
    """Return all results as CSV, metrics as shares of 1, with the same columns for every job."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    fields = ("task", "family", "language", "classes", "metric", "recipe", "point", "status", "seeds", "trained")
    figures = ("valid", "test", "test_std", "prompts_add", "single")
    published = [f"published_{system}" for system in SYSTEMS]
    writer.writerow(
        [
            *fields,
            *figures,
            "ensemble",
            "publish",
            *BASELINES,
            *VERDICT,
            "published_metric",
            *published,
            "bundle",
            "error",
        ]
    )
    for row in report.tasks:
        cells = [
            *(getattr(row, name) for name in (*fields, *figures)),
            row.ensemble and row.ensemble.test,
            row.publish,
            *(row.baselines[kind].test if kind in row.baselines else None for kind in BASELINES),
            *_verdict_values(row),
            row.published and row.published.metric,
            *(_published(row, system) for system in SYSTEMS),
            row.bundle,
            row.error,
        ]
        writer.writerow([spreadsheet_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return buffer.getvalue()


def _verdict_values(row: TaskRow) -> list[str | float | None]:
    """Return the columns ``VERDICT``."""
    found = row.verdict or TaskVerdict()
    compared = found.comparison
    measured: list[float | None] = [None] * 4
    if compared is not None:
        measured = [compared.difference, *compared.interval, compared.margin]
    return [found.verdict, found.baseline, *measured, found.p, found.reason]


def percent(share: float | None) -> str:
    """Return a share in percent; empty if there is none."""
    return "" if share is None else f"{100 * share:.1f}"


def metric_of(row: TaskRow) -> str:
    """Return the task's metric, with an arrow if lower is better."""
    return f"{row.metric} ↓" if lower_is_better(row.metric) else row.metric


def _headings(columns: Columns) -> list[str]:
    verdicts = ["verdict", "difference"] if columns.verdicts else []
    return ["task", "metric", "recipe", "prompt", *columns.baselines, *verdicts, *columns.systems]


def _cells(row: TaskRow, columns: Columns) -> list[str]:
    return [
        row.task,
        metric_of(row),
        row.recipe,
        ours(row),
        *(baseline_cell(row, kind) for kind in columns.baselines),
        *([verdict_cell(row), difference_cell(row)] if columns.verdicts else []),
        *(published_cell(row, system) for system in columns.systems),
    ]


def ours(row: TaskRow) -> str:
    """Return the test metric of the prompts, mean and spread over seeds, or that of an ensemble if it is published; the
    task's status if there is none."""
    if row.test is None:
        return row.status
    if row.publish == "ensemble":
        return f"{percent(row.of_bundle)} ({row.seeds} together)"
    return mean_and_spread(row)


def mean_and_spread(row: TaskRow) -> str:
    """Return the mean of the test metric over seeds, and its standard deviation."""
    return percent(row.test) + (f" ± {percent(row.test_std)}" if row.test_std and row.seeds > 1 else "")


def baseline_cell(row: TaskRow, kind: str) -> str:
    """Return a baseline's test metric, or that it failed."""
    figures = row.baselines.get(kind)
    if figures is None:
        return ""
    return FAILED if figures.test is None else percent(figures.test)


def published_cell(row: TaskRow, system: System) -> str:
    """Return a published result, with its metric if that is not the task's."""
    figure = _published(row, system)
    if figure is None or row.published is None:
        return ""
    other = "" if row.published.metric == row.metric else f" ({row.published.metric})"
    return percent(figure) + other


def _published(row: TaskRow, system: System) -> float | None:
    return row.published.figures.get(system) if row.published is not None else None


def failed_baselines(rows: Sequence[TaskRow]) -> list[str]:
    """Return sentences about why baselines failed."""
    return [
        f"{row.task}, baseline {kind}: {figures.error}"
        for row in rows
        for kind, figures in row.baselines.items()
        if figures.error is not None
    ]
