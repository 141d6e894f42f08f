"""Which point of a task's sweep is the best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from infra.errors import TuningError
from task_specs.metric import MetricName, merit
from workers.prompting.outcome import LaneOutcome


def by_point(outcomes: Sequence[LaneOutcome]) -> dict[str, list[LaneOutcome]]:
    """Outcomes by the settings they tried, in their order."""
    points: dict[str, list[LaneOutcome]] = {}
    for outcome in outcomes:
        points.setdefault(outcome.point, []).append(outcome)
    return points


def best_point(outcomes: Sequence[LaneOutcome]) -> list[LaneOutcome]:
    """The outcomes of the best point, one per seed: by the mean over seeds of the metric on the validation split, then
    of the loss. A point of which a seed failed, or was dropped, is out.

    Args:
        outcomes: of all lanes of a task, at least one.

    Raises:
        TuningError: every point is out; the message is that of the first lane that failed.
    """
    whole = [lanes for lanes in by_point(outcomes).values() if _is_whole(lanes)]
    if not whole:
        raise TuningError(next(outcome.error for outcome in outcomes if outcome.error is not None))
    metric = outcomes[0].spec.metric
    return max(whole, key=lambda lanes: (_merit(metric, mean_valid(lanes)), -_mean(lanes, "loss")))


def has_whole_point(outcomes: Sequence[LaneOutcome]) -> bool:
    """Whether there is a point to choose."""
    return any(_is_whole(lanes) for lanes in by_point(outcomes).values())


def best_lane(lanes: Sequence[LaneOutcome]) -> LaneOutcome:
    """The best seed of a point by the metric on the validation split; the first of equal ones."""
    metric = lanes[0].spec.metric
    return max(lanes, key=lambda outcome: _merit(metric, outcome.figures["valid"][metric]))


def mean_valid(lanes: Sequence[LaneOutcome]) -> float:
    """Mean over seeds of the metric on the validation split."""
    return _mean(lanes, lanes[0].spec.metric)


def _merit(metric: MetricName, value: float) -> float:
    """The value so that more is better; what is undefined is worse than anything, and NaN cannot be compared."""
    return -math.inf if math.isnan(value) else merit(metric, value)


def _is_whole(lanes: Sequence[LaneOutcome]) -> bool:
    return all(lane.error is None and lane.stopped != "dropped" for lane in lanes)


def _mean(lanes: Sequence[LaneOutcome], figure: str) -> float:
    return statistics.fmean(outcome.figures["valid"][figure] for outcome in lanes)
