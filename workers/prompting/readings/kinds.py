"""The readings by the name that a recipe gives them; ``task_specs.recipe.Read`` lists the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workers.prompting.readings.pooled import Mean, Pooled
from workers.prompting.readings.reading import Reading
from workers.prompting.readings.separator import Separator

READINGS: Final[Mapping[str, Reading]] = {"separator": Separator(), "mean": Mean(), "pooled": Pooled()}
