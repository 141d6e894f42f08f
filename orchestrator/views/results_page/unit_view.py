"""View of the units that a task's prompts use, on the results page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.report import TaskRow
from workers.evaluation.figures import MOST_CLASSES, unit_use_png
from workers.evaluation.unit_use import mean_use
from workers.tuning.results.outcome import LaneOutcome
from workers.tuning.results.unit_agreement import UnitAgreement
from workers.tuning.results.unit_use_file import LaneUnitUse

LISTED = 6
"""Number of units listed for each class."""


@dataclass(frozen=True)
class NamedUnit:
    """One of the most important units of a class, by the mean over seeds.

    Attributes:
        name: name of the unit.
        speaks_for: whether the unit raises the score of the class on examples of the class.
        seeds: number of seeds with the unit among the first ``LISTED``.
    """

    name: str
    speaks_for: bool
    seeds: int


@dataclass(frozen=True)
class UnitView:
    """Units of a slot.

    Attributes:
        slot: name of the slot.
        picture: PNG as a ``data:`` URI.
        classes: labels with their most important units.
        left_out: number of classes not shown.
        seeds: number of seeds.
        agreement: agreement between seeds.
    """

    slot: str
    picture: str
    classes: list[tuple[str, list[NamedUnit]]]
    left_out: int
    seeds: int
    agreement: UnitAgreement | None


def unit_views(row: TaskRow, outcomes: Sequence[LaneOutcome], uses: Sequence[LaneUnitUse]) -> list[UnitView]:
    """Return a view for each slot; none if verbalizers are not linear.

    Args:
        row: row of the report.
        outcomes: outcomes of the task's lanes.
        uses: units that those lanes use.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    if not uses or not outcomes:
        return []
    names, views = uses[0].names, []
    for number, described in enumerate(outcomes[0].spec.slots):
        slots = [use.slots[number] for use in uses]
        mean, firsts = mean_use(slots), [slot.top(LISTED).tolist() for slot in slots]
        classes = [
            (
                label,
                [
                    NamedUnit(
                        names[output],
                        bool(mean.own[place, output] > 0),
                        sum(output in first[place] for first in firsts),
                    )
                    for output in outputs
                ],
            )
            for place, (label, outputs) in enumerate(zip(described.labels, mean.top(LISTED).tolist(), strict=True))
        ]
        png = unit_use_png(mean, described.labels, names, f"{row.task}: {described.name}")
        views.append(
            UnitView(
                slot=described.name,
                picture=f"data:image/png;base64,{base64.b64encode(png).decode()}",
                classes=classes[:MOST_CLASSES],
                left_out=max(0, len(classes) - MOST_CLASSES),
                seeds=len(uses),
                agreement=row.unit_agreement.get(described.name),
            )
        )
    return views
