"""What a lane is, and how one may end: all that outcomes and orders say of it, without a tensor."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from task_specs.metric import MetricName, Resampled
from task_specs.recipe import Recipe

Stop = Literal["steps", "patience", "diverged", "dropped", "failed"]
"""Why a lane ended: all steps done, no more improvement, a loss that is not finite, others of its sweep were better, or
an error of its own."""


class SlotSpec(BaseModel):
    """One label of a task: its name and its classes in order."""

    model_config = ConfigDict(frozen=True)

    name: str
    labels: tuple[str, ...]


class LaneSpec(BaseModel):
    """What a lane is; two lanes with equal specs on the same backbone give the same prompt.

    Attributes:
        task: name of the task spec.
        slots: its labels.
        metric: what the kept prompt is best at, on the validation split.
        positive: the positive class of ``f1`` and ``eer``.
        bootstrap: what confidence intervals draw.
        shots: training examples of each combination of labels that the lane draws; ``None``: it takes all.
        seed: of initialisation, order, dropout, and that draw.
        recipe: how it is tuned.
        examples: URI of the encoded examples.
        examples_digest: their digest.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    slots: tuple[SlotSpec, ...]
    metric: MetricName
    positive: str | None = None
    bootstrap: Resampled = "utterances"
    shots: int | None = None
    seed: int
    recipe: Recipe
    examples: str
    examples_digest: str

    @property
    def name(self) -> str:
        """How people see it."""
        return f"{self.task}/seed{self.seed}"

    @property
    def positive_class(self) -> int | None:
        """Number of the positive class."""
        return None if self.positive is None else self.slots[0].labels.index(self.positive)
