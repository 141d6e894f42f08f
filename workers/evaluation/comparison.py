"""Whether prompts are better than a baseline, as good, or worse: paired bootstrap over test examples and seeds.

Each draw takes test examples with replacement (or speakers, with all that they say), the same ones for prompts and
baseline, and beside them seeds of the prompts with replacement; the metric itself is computed on each. The p-value is
that of the percentile interval which just touches zero (Efron and Tibshirani, An introduction to the bootstrap, 1993,
chapters 13 and 15). Of S seeds the bootstrap sees (S - 1) / S of the variance between seeds: of one it sees nothing.
Over the tasks of a job p-values are corrected by Holm's method (Holm, A simple sequentially rejective multiple test
procedure, 1979).

====================  =================================================================================
``win``               prompts are significantly better
``loss``              the baseline is significantly better
``tie``               neither, and the prompts are at most the margin worse: the interval lies above it
``undecided``         neither, and the test examples are too few to exclude that they are
====================  =================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from task_specs.metric import METRICS
from workers.evaluation.answers import Answers
from workers.evaluation.bootstrap import LEVEL, SEED, Interval, interval, resampled
from workers.evaluation.metrics import MEASURES, Weighted

RESAMPLES: Final = 10_000
"""So many that the least p-value, 0.0002, is significant among 250 tasks."""
MARGIN, SMALL_MARGIN, MANY_EXAMPLES = 0.01, 0.03, 1000
"""By how much prompts may be worse and still tie, with at least ``MANY_EXAMPLES`` test examples, and with fewer."""

Verdict = Literal["win", "tie", "loss", "undecided"]
VERDICTS: Final[tuple[Verdict, ...]] = ("win", "tie", "loss", "undecided")


class Comparison(BaseModel):
    """Prompts against a baseline on the test split of a task.

    Attributes:
        difference: mean of the metric over seeds less the baseline's, or the reverse where lower is better: above 0
            where the prompts are better; as a share of 1.
        interval: 95 % interval of ``difference``.
        p: two-sided p-value of there being no difference, of this task alone.
        margin: by how much prompts may be worse and still tie, as a share of 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    difference: float
    interval: Interval
    p: float
    margin: float

    def verdict(self, p: float) -> Verdict:
        """The verdict with a p-value that is corrected for the number of tasks."""
        if p < 1 - LEVEL:
            return "win" if self.difference > 0 else "loss"
        return "tie" if self.interval[0] > -self.margin else "undecided"


def compare(prompts: Sequence[Answers], baseline: Answers, metric: str) -> Comparison | None:
    """Compare the prompts of a task's seeds with a baseline.

    Args:
        prompts: answers of each seed, at least one.
        baseline: answers to the same examples.
        metric: a key of ``METRICS``.

    Returns:
        ``None`` where the metric is undefined on these examples, such as the error rate of a detector without a
        positive one.
    """
    systems, groups = [*prompts, baseline], baseline.groups
    measured = MEASURES[metric]

    def figures(weights: NDArray[np.float64]) -> dict[str, float]:
        values = [measured(Weighted(answers, weights)) for answers in systems]
        return {str(place): METRICS[metric].score(value) for place, value in enumerate(values)}

    *ours, theirs = figures(np.ones(len(groups))).values()
    difference = float(np.mean(ours)) - theirs
    drawn = resampled(figures, groups, resamples=RESAMPLES)
    *each, against = (drawn[str(place)] for place in range(len(systems)))
    seeds = np.random.default_rng([SEED, 1]).integers(len(prompts), size=(len(prompts), RESAMPLES))
    # An undefined metric has the score -inf; the difference of two of them is NaN.
    with np.errstate(invalid="ignore"):
        differences = np.take_along_axis(np.array(each), seeds, axis=0).mean(axis=0) - against
    differences = differences[np.isfinite(differences)]
    if not np.isfinite(difference) or not len(differences):
        return None
    least = min((differences <= 0).sum(), (differences >= 0).sum())
    return Comparison(
        difference=difference,
        interval=interval(differences),
        p=float(min(1.0, 2 * (1 + least) / (1 + len(differences)))),
        margin=MARGIN if len(groups) >= MANY_EXAMPLES else SMALL_MARGIN,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in their order."""
    values = np.array(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return [float(value) for value in corrected]
