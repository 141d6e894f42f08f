"""How good a kept prompt is, how sure that is, and how to read its probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from task_specs.example import Split
from workers.evaluation.bootstrap import Interval, interval, resampled
from workers.evaluation.calibration import best_temperature
from workers.evaluation.metrics import Figures, Predictions
from workers.tuning.lane_spec import LaneSpec


@dataclass(frozen=True)
class FinalMetrics:
    """What an outcome says of a prompt.

    Attributes:
        metrics: every metric by split; those of calibration with the temperatures, and without.
        temperatures: by which the scores of each slot are divided.
        intervals: by metric, where the middle 95 % of the bootstrap's draws of the test split lie.
        draws: the lane's metric on each draw.
    """

    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    temperatures: list[float] = field(default_factory=list)
    intervals: dict[str, Interval] = field(default_factory=dict)
    draws: list[float] = field(default_factory=list)


def final_metrics(
    spec: LaneSpec, predictions: Mapping[Split, Predictions], speakers: NDArray[np.int64] | None
) -> FinalMetrics:
    """Measure a prompt, or an ensemble of prompts, in every way that its outcome tells.

    Args:
        spec: of the lane, or of one of the lanes.
        predictions: on the splits ``valid``, on which it is calibrated, and ``test``.
        speakers: number of the speaker of each test example, int64 [examples], where the bootstrap draws speakers.
    """
    valid = predictions["valid"]
    temperatures = [best_temperature(scores, valid.labels[:, slot]) for slot, scores in enumerate(valid.scores)]
    by_split = {
        split: Figures(predicted, positive=spec.positive_class, temperatures=temperatures)
        for split, predicted in predictions.items()
    }
    groups = np.arange(len(predictions["test"].labels)) if speakers is None else speakers
    drawn = resampled(by_split["test"], groups)
    return FinalMetrics(
        metrics={split: figures() for split, figures in by_split.items()},
        temperatures=temperatures,
        intervals={name: interval(values) for name, values in drawn.items() if np.isfinite(values).any()},
        draws=[round(value, 6) for value in drawn[spec.metric].tolist()],
    )
