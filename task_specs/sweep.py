"""The sweep of a task: settings of the recipe to try in all combinations, each with every seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from task_specs.field_types import Int
from task_specs.prompt_init import BundleInit, PromptInit, shown_init
from task_specs.recipe import Dropout, LearningRate, PromptLength, Read, Recipe, Verbalizer
from task_specs.validation import fault

MAX_LANES = 1000
"""Most lanes of a task, and most values of a setting."""

_Value = TypeVar("_Value", bound=Hashable)


def _some_distinct(values: Sequence[_Value]) -> Sequence[_Value]:
    if not values:
        raise fault("has no value", "give it one or more, or remove the line")
    if len(set(values)) < len(values):
        raise fault("holds a value twice", "remove one of them")
    return values


Values = Annotated[tuple[_Value, ...], Field(max_length=MAX_LANES), AfterValidator(_some_distinct)]


class Halving(BaseModel):
    """Successive halving (Jamieson and Talwalkar, 2016), synchronous within the task.

    At rung ``k`` of ``rungs``, after ``steps / eta ** (rungs - k)`` optimizer steps (``k`` from 0, rounded up to an
    evaluation), the best ``1 / eta`` of the points go on, by the mean over seeds of their lanes' selection metric.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eta: Int = Field(2, ge=2, le=64)
    """At each rung, one of ``eta`` points goes on."""
    rungs: Int = Field(2, ge=1, le=10)
    """Number of rungs, at which points are dropped."""

    def steps(self, planned: int, every: int) -> list[int]:
        """Return the optimizer step of each rung, for lanes of ``planned`` steps with an evaluation each ``every``."""
        exact = [planned / self.eta ** (self.rungs - rung) for rung in range(self.rungs)]
        return [min(planned, every * max(1, -int(-step // every))) for step in exact]

    def kept(self, points: int) -> int:
        """Return how many of ``points`` go on."""
        return -(-points // self.eta)


class Sweep(BaseModel):
    """Values to try; other settings are the recipe's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: Values[LearningRate] | None = None
    prompt_length: Values[PromptLength] | None = None
    prompt_init: Values[PromptInit] | None = None
    read: Values[Read] | None = None
    verbalizer: Values[Verbalizer] | None = None
    dropout: Values[Dropout] | None = None
    halving: Halving | None = None
    """Dropping of the worst points; ``None``: all points are tuned to the end."""

    @model_validator(mode="after")
    def _varies(self) -> Self:
        if not self.grid:
            raise fault("varies no setting", f"give one of {', '.join(_SHORT)} a list of values, or remove it")
        return self

    @property
    def grid(self) -> dict[str, tuple[Any, ...]]:
        """Values of each setting that varies."""
        return {name: values for name in _SHORT if (values := getattr(self, name)) is not None}

    @property
    def size(self) -> int:
        """Number of combinations, without building them."""
        return math.prod(map(len, self.grid.values()))

    def points(self, recipe: Recipe) -> list[Point]:
        """Return all combinations; the last setting varies fastest."""
        return [
            Point(
                " ".join(_short(name, value) for name, value in zip(self.grid, values, strict=True)),
                recipe.model_copy(update=dict(zip(self.grid, values, strict=True))),
            )
            for values in itertools.product(*self.grid.values())
        ]


@dataclass(frozen=True)
class Point:
    """A combination of settings.

    Attributes:
        name: settings that vary, such as ``lr0.01 l20``; empty without a sweep.
        recipe: recipe with these settings.
    """

    name: str
    recipe: Recipe


_SHORT = {
    "learning_rate": "lr",
    "prompt_length": "l",
    "prompt_init": "",
    "read": "",
    "verbalizer": "",
    "dropout": "d",
}


def _short(name: str, value: Any) -> str:
    if isinstance(value, BundleInit):
        return shown_init(value)
    if isinstance(value, float) and float(f"{value:.15g}") == value:
        return f"{_SHORT[name]}{value:.15g}"
    # All digits if fewer are not exact, since a point is identified by its name.
    return f"{_SHORT[name]}{value}"
