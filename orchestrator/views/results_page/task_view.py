"""View of a task on the results page, for its template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.report import TaskRow
from orchestrator.views.results_page.heard_view import HeardView, heard_views
from orchestrator.views.results_page.unit_view import UnitView, unit_views
from orchestrator.views.tables import mean_and_spread, metric_of, ours, percent
from task_specs.metric import lower_is_better
from workers.baselines.kinds import BASELINES
from workers.evaluation.confusion import confusion_table
from workers.tuning.results.heard_file import HeardExample
from workers.tuning.results.outcome import LaneOutcome
from workers.tuning.results.unit_use_file import LaneUnitUse

MOST_DRAWN, MOST_NUMBERED = 60, 20
"""Most classes of a matrix that is drawn, and of one with numbers in its cells."""
MISTAKES = 8
LABEL_CHARACTERS = 18
"""Longest label beside a matrix; tooltips and the list of mistakes show it in full."""


@dataclass(frozen=True)
class Bar:
    """A bar of the chart of test metrics.

    Attributes:
        kind: ``ours``, ``baseline`` or ``published``.
        name: name of the system.
        text: metric as text.
        share: length of the bar as a share of the scale, 0 to 1.
        low, high: spread over seeds; ``None`` if there is none.
    """

    kind: str
    name: str
    text: str
    share: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix; ``share`` is relative to the examples of its label."""

    row: int
    column: int
    count: int
    share: float
    label: str
    predicted: str

    @property
    def title(self) -> str:
        """Tooltip."""
        return f"{self.label} → {self.predicted}: {self.count} ({percent(self.share)} %)"


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix on the test split, summed over seeds.

    Attributes:
        slot: name of the slot.
        labels: labels, shortened.
        cells: cells that are not zero; empty if there are too many classes to draw.
        mistakes: most frequent mistakes.
        right, total: correct and all predictions of all seeds.
    """

    slot: str
    labels: list[str]
    cells: list[Cell]
    mistakes: list[Cell]
    right: int
    total: int

    @property
    def numbered(self) -> bool:
        """Whether cells have room for numbers."""
        return len(self.labels) <= MOST_NUMBERED

    @property
    def label_room(self) -> int:
        """Width of the longest label in pixels."""
        return 14 + 7 * max(map(len, self.labels))


@dataclass(frozen=True)
class TaskView:
    """A task on the page."""

    row: TaskRow
    metric: str
    figure: str
    lower_is_better: bool
    bars: list[Bar]
    matrices: list[Matrix]
    units: list[UnitView]
    heard: list[HeardView]
    other_metric: str
    """Metric of the published results if it is not the task's, else empty."""


def task_view(
    row: TaskRow,
    outcomes: Sequence[LaneOutcome],
    uses: Sequence[LaneUnitUse] = (),
    heard: Sequence[Sequence[HeardExample]] | None = None,
) -> TaskView:
    """Return the view of a task.

    Args:
        row: row of the report.
        outcomes: outcomes of the task's lanes, one per seed.
        uses: units that those lanes use.
        heard: what the first of them heard in a few test examples, by slot.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    other = "" if row.published is None or row.published.metric == row.metric else row.published.metric
    return TaskView(
        row=row,
        metric=metric_of(row),
        figure=ours(row),
        lower_is_better=lower_is_better(row.metric),
        bars=_bars(row, other),
        matrices=_matrices(outcomes),
        units=unit_views(row, outcomes, uses),
        heard=heard_views(outcomes[0] if outcomes else None, heard),
        other_metric=other,
    )


def _bars(row: TaskRow, other: str) -> list[Bar]:
    bars = []
    if row.test is not None:
        spread = row.test_std if row.test_std and row.seeds > 1 else None
        low = None if spread is None else max(0.0, row.test - spread)
        high = None if spread is None else min(1.0, row.test + spread)
        bars.append(Bar("ours", "prompt", mean_and_spread(row), row.test, low, high))
    if row.ensemble is not None and (share := row.ensemble.test) is not None:
        bars.append(Bar("ours", f"{row.seeds} prompts together", percent(share), share))
    for kind, figures in row.baselines.items():
        if figures.test is not None:
            name = BASELINES[kind].title if kind in BASELINES else kind
            bars.append(Bar("baseline", name, percent(figures.test), figures.test))
    if row.published is not None:
        suffix = f" ({other})" if other else ""
        bars += [
            Bar("published", "prior work" if system == "prior" else system, percent(figure) + suffix, figure)
            for system, figure in row.published.figures.items()
        ]
    return bars


def _matrices(outcomes: Sequence[LaneOutcome]) -> list[Matrix]:
    if not outcomes or not all(outcome.confusions for outcome in outcomes):
        return []
    return [
        _matrix(
            described.name,
            described.labels,
            confusion_table((outcome.confusions[slot] for outcome in outcomes), len(described.labels)),
        )
        for slot, described in enumerate(outcomes[0].spec.slots)
    ]


def _matrix(slot: str, labels: Sequence[str], table: NDArray[np.int64]) -> Matrix:
    totals = table.sum(axis=1)
    cells = [
        Cell(
            row=int(row),
            column=int(column),
            count=int(table[row, column]),
            share=float(table[row, column] / totals[row]),
            label=labels[row],
            predicted=labels[column],
        )
        for row, column in zip(*np.nonzero(table), strict=True)
    ]
    wrong = sorted((cell for cell in cells if cell.row != cell.column), key=lambda cell: -cell.count)
    return Matrix(
        slot=slot,
        labels=[shortened(label) for label in labels],
        cells=cells if len(labels) <= MOST_DRAWN else [],
        mistakes=wrong[:MISTAKES],
        right=int(np.trace(table)),
        total=int(table.sum()),
    )


def shortened(label: str) -> str:
    """Return a label shortened to fit beside a matrix."""
    return label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"
