"""The verbalizers by the name that a recipe gives them; ``task_specs.recipe.Verbalizer`` lists the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workers.prompting.verbalizers.fixed import Frequency, Random
from workers.prompting.verbalizers.linear import Linear
from workers.prompting.verbalizers.verbalizer import Verbalizer

VERBALIZERS: Final[Mapping[str, Verbalizer]] = {"linear": Linear(), "frequency": Frequency(), "random": Random()}
