"""A lane in a gang: what changes of it from step to step, but for its numbers, which are a row of the optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from task_specs.metric import METRICS
from workers.tuning.step.lane import Lane
from workers.tuning.step.lane_state import LaneState, Progress

LEAST_EVALUATIONS = 5
"""Before which nothing is known of whether a lane learns."""


@dataclass(eq=False)
class RunningLane:
    """A lane that is being tuned.

    Attributes:
        lane: its spec and data.
        progress: steps, best score, why it stopped.
        generator: its random stream, from which dropout draws.
        losses: training loss by optimizer step since the last evaluation, float32 [] each.
    """

    lane: Lane
    progress: Progress
    generator: torch.Generator
    losses: list[tuple[int, Tensor]]

    @classmethod
    def of(cls, lane: Lane, state: LaneState) -> RunningLane:
        """A lane that goes on from a state, which stays as it is."""
        generator = torch.Generator()
        generator.set_state(state.generator)
        losses = [(step, torch.tensor(loss)) for step, loss in state.losses]
        return cls(lane, replace(state.progress), generator, losses)

    @property
    def active(self) -> bool:
        """Whether it goes on."""
        return self.progress.stopped is None

    @property
    def evaluation_due(self) -> bool:
        """Whether it is to be evaluated before its next step."""
        step = self.progress.step
        return step % self.lane.evaluate_every == 0 or step == self.lane.spec.recipe.steps

    @property
    def failed_to_learn(self) -> bool:
        """Whether it is to begin again: it was never better than the most frequent classes are, in a third of its steps
        or until its patience ran out, and the recipe allows another draw."""
        recipe, progress = self.lane.spec.recipe, self.progress
        over = progress.stopped == "patience" or 3 * progress.step >= recipe.steps
        over &= progress.step >= LEAST_EVALUATIONS * self.lane.evaluate_every
        return over and not progress.learned and progress.restarts < recipe.restarts and progress.stopped != "diverged"

    def begin_again(self, state: LaneState) -> None:
        """Go on from another beginning, whose numbers are put into the optimizer by whoever calls."""
        before = self.progress
        self.progress = Progress(restarts=before.restarts + 1, discarded=before.taken)
        self.generator.set_state(state.generator)

    def judge(self, metrics: Mapping[str, float]) -> bool:
        """Take an evaluation on the validation split, and stop if it is time to.

        Args:
            metrics: by name, with ``loss``.

        Returns:
            Whether they are the best so far.
        """
        recipe, progress = self.lane.spec.recipe, self.progress
        if not math.isfinite(metrics["loss"]):
            progress.stopped = "diverged"
            return False
        name = self.lane.spec.metric
        # Undefined on a draw of validation examples that lacks a class.
        metric = METRICS[name].score(metrics[name]) if recipe.select_on == "metric" else 0.0
        score = (metric, -metrics["loss"])
        progress.learned |= not METRICS[name].score(metrics[name]) <= self.lane.majority_score
        better = progress.best_score is None or score > progress.best_score
        if better:
            progress.best_score, progress.best_step, progress.evaluations_since_best = score, progress.step, 0
        else:
            progress.evaluations_since_best += 1
        if progress.step >= recipe.steps:
            progress.stopped = "steps"
        elif progress.evaluations_since_best >= recipe.patience:
            progress.stopped = "patience"
        return better
