"""The metrics that prompts are selected by and tables show."""

from __future__ import annotations

from typing import Literal

MetricName = Literal["accuracy", "slot_accuracy", "macro_f1", "weighted_f1", "f1", "eer"]
"""``accuracy``: share of examples with every slot right, which for intents is the sentence accuracy;
``slot_accuracy``: share of right slots; ``macro_f1``: F1 of each class, mean over classes; ``weighted_f1``: mean
weighted by how many examples a class has; ``f1``: of the positive class alone; ``eer``: equal error rate."""

BINARY: frozenset[MetricName] = frozenset({"f1", "eer"})
"""Those of one slot with two classes, of which one is the positive class."""

LOWER_IS_BETTER: frozenset[MetricName] = frozenset({"eer"})

Resampled = Literal["utterances", "speakers"]
"""What a bootstrap draws: utterances are independent, or only speakers are, with all that they say."""


def slot_figure(figure: str, slot: int) -> str:
    """The name of a figure of one slot, ``accuracy_slot1`` for the first.

    By place and not by name: slots are named as people name columns, by whole questions and in any script, and stores
    of figures tell far fewer names apart.
    """
    return f"{figure}_slot{slot + 1}"


def merit(metric: MetricName, value: float) -> float:
    """The value so that more is better."""
    return -value if metric in LOWER_IS_BETTER else value
