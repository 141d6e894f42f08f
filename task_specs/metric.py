"""The metrics that prompts are selected by and tables show.

A new one is a line of ``METRICS`` and a function of its name in ``workers.evaluation.metrics``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


@dataclass(frozen=True)
class Metric:
    """What is known of a metric without computing it.

    Attributes:
        higher_is_better: whether more of it is better.
        several_slots: whether it is defined for tasks of several slots alone.
        binary: whether it is of one slot with two classes, of which one is the positive class.
    """

    higher_is_better: bool = True
    several_slots: bool = False
    binary: bool = False

    def score(self, value: float) -> float:
        """The value so that higher is better; what is undefined is worse than anything, and NaN cannot be compared."""
        if math.isnan(value):
            return -math.inf
        return value if self.higher_is_better else -value


METRICS: Final[dict[str, Metric]] = {
    "accuracy": Metric(),
    "slot_accuracy": Metric(several_slots=True),
    "macro_f1": Metric(),
    "weighted_f1": Metric(),
    "f1": Metric(binary=True),
    "eer": Metric(higher_is_better=False, binary=True),
}


def _known(name: Any) -> Any:
    if not isinstance(name, str) or name not in METRICS:
        *others, last = map(repr, METRICS)
        expected = f"{', '.join(others)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
    return name


MetricName = Annotated[str, BeforeValidator(_known)]
"""A key of ``METRICS``."""


def lower_is_better(name: str) -> bool:
    """Whether less of a metric is better; not of one that is unknown, as in a report of another installation."""
    return name in METRICS and not METRICS[name].higher_is_better


Resampled = Literal["utterances", "speakers"]
"""What a bootstrap draws: utterances are independent, or only speakers are, with all that they say."""


def slot_figure(figure: str, slot: int) -> str:
    """The name of a figure of one slot, ``accuracy_slot1`` for the first.

    By place and not by name: slots are named as people name columns, by whole questions and in any script, and stores
    of figures tell far fewer names apart.
    """
    return f"{figure}_slot{slot + 1}"
