"""A sweep: settings of the recipe that a task tries in every combination, each with every seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from task_specs.field_types import Int
from task_specs.prompt_init import BundleInit, PromptInit, shown_init
from task_specs.recipe import Dropout, LearningRate, PromptLength, Recipe, Verbalizer
from task_specs.validation import fault

MAX_LANES = 1000
"""Of one task; a setting has no more values either."""

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
    evaluation), the best ``1 / eta`` of the points go on, by the mean over their seeds of what their lanes select by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eta: Int = Field(2, ge=2, le=64)
    """One of so many points goes on at each rung."""
    rungs: Int = Field(2, ge=1, le=10)
    """How often points are dropped."""

    def steps(self, planned: int, every: int) -> list[int]:
        """The optimizer step of each rung, for lanes of ``planned`` steps evaluated each ``every``."""
        exact = [planned / self.eta ** (self.rungs - rung) for rung in range(self.rungs)]
        return [min(planned, every * max(1, -int(-step // every))) for step in exact]

    def kept(self, points: int) -> int:
        """How many of so many points go on."""
        return -(-points // self.eta)


class Sweep(BaseModel):
    """The values to try; what is left out stays as the recipe has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: Values[LearningRate] | None = None
    prompt_length: Values[PromptLength] | None = None
    prompt_init: Values[PromptInit] | None = None
    verbalizer: Values[Verbalizer] | None = None
    dropout: Values[Dropout] | None = None
    halving: Halving | None = None
    """Drop the worst points early; ``None`` tunes all to the end."""

    @model_validator(mode="after")
    def _varies(self) -> Self:
        if not self.grid:
            raise fault("names nothing to vary", f"give one of {', '.join(_SHORT)} a list of values, or remove it")
        return self

    @property
    def grid(self) -> dict[str, tuple[Any, ...]]:
        """The values of each setting that varies."""
        return {name: values for name in _SHORT if (values := getattr(self, name)) is not None}

    @property
    def size(self) -> int:
        """How many combinations there are, without making them."""
        return math.prod(map(len, self.grid.values()))

    def points(self, recipe: Recipe) -> list[Point]:
        """Every combination, the last setting fastest."""
        return [
            Point(
                " ".join(_short(name, value) for name, value in zip(self.grid, values, strict=True)),
                recipe.model_copy(update=dict(zip(self.grid, values, strict=True))),
            )
            for values in itertools.product(*self.grid.values())
        ]


@dataclass(frozen=True)
class Point:
    """One combination.

    Attributes:
        name: what varies, such as ``lr0.01 l20``; empty without a sweep.
        recipe: with its settings.
    """

    name: str
    recipe: Recipe


_SHORT = {"learning_rate": "lr", "prompt_length": "l", "prompt_init": "", "verbalizer": "", "dropout": "d"}


def _short(name: str, value: Any) -> str:
    if isinstance(value, BundleInit):
        return shown_init(value)
    if isinstance(value, float) and float(f"{value:.15g}") == value:
        return f"{_SHORT[name]}{value:.15g}"
    # All digits where values differ in no others, since a point is known by its name.
    return f"{_SHORT[name]}{value}"
