"""The objectives by the name that a recipe gives them as its ``loss``, which ``task_specs.recipe.Loss`` lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from infra.errors import TaskSpecError
from task_specs.recipe import Recipe
from workers.prompting.objectives.objective import Objective
from workers.prompting.objectives.paper import Paper
from workers.prompting.objectives.separators import Separators
from workers.prompting.verbalizers.kinds import VERBALIZERS

OBJECTIVES: Final[Mapping[str, Objective]] = {"separators": Separators(), "paper": Paper()}


def one_unit_a_class(recipe: Recipe) -> bool:
    """Whether each class needs a unit of its own, for its verbalizer or its objective."""
    return VERBALIZERS[recipe.verbalizer].one_unit_a_class or OBJECTIVES[recipe.loss].one_unit_a_class


def check_unit_count(recipe: Recipe, classes: Sequence[int], unit_count: int, task: str) -> None:
    """There is a unit for every class, where each needs one.

    Raises:
        TaskSpecError: there are more classes than units.
    """
    if max(classes) <= unit_count or not one_unit_a_class(recipe):
        return
    setting, remedy = f"recipe.loss: '{recipe.loss}'", "separators"
    if VERBALIZERS[recipe.verbalizer].one_unit_a_class:
        setting, remedy = f"recipe.verbalizer: '{recipe.verbalizer}'", "linear"
    raise TaskSpecError(
        f"{task}: {setting} gives each class a unit of its own, but a slot has "
        f"{max(classes)} classes and the backbone {unit_count} units; use '{remedy}'"
    )
