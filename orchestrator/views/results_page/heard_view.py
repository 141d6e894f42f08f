"""View of what prompts heard along a few test utterances, on the results page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.tuning.results.heard_file import HeardExample
from workers.tuning.results.outcome import LaneOutcome

SHOWN = 6
"""Examples of a slot, of as many classes."""


@dataclass(frozen=True)
class HeardUnit:
    """A unit as a bar: ``share`` of the longest bar of its example, above 0 where it speaks for the class."""

    share: float
    title: str


@dataclass(frozen=True)
class HeardView:
    """An utterance that the prompt got right.

    Attributes:
        slot, label: what it was asked, and what it said.
        units: in their order.
        strongest: the unit that speaks most for the label, in words.
    """

    slot: str
    label: str
    units: list[HeardUnit]
    strongest: str


def heard_views(outcome: LaneOutcome | None, heard: Sequence[Sequence[HeardExample]] | None) -> list[HeardView]:
    """Return a view of each example; none for a prompt that reads the separators alone.

    Args:
        outcome: outcome of the lane.
        heard: what it heard, by slot.
    """
    if outcome is None or heard is None:
        return []
    return [
        _view(described.name, described.labels[example.label], example)
        for described, examples in zip(outcome.spec.slots, heard, strict=True)
        for example in examples[:SHOWN]
    ]


def _view(slot: str, label: str, example: HeardExample) -> HeardView:
    weights = example.weights.tolist()
    longest = max(map(abs, weights)) or 1.0
    units = [
        HeardUnit(weight / longest, f"unit {unit}: {weight:+.2f}")
        for unit, weight in zip(example.units.tolist(), weights, strict=True)
    ]
    place = max(range(len(weights)), key=weights.__getitem__)
    return HeardView(slot, label, units, f"{units[place].title} nats, {place + 1} of {len(units)}")
