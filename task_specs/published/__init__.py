"""Published results of SpeechPrompt v2 and of the work before it, by task."""

from __future__ import annotations

import importlib.resources
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

System = Literal["prior", "GSLM", "GSLM+", "pGSLM", "pGSLM+"]
"""``prior`` is the best work that the paper compares with; ``+`` means with the linear verbalizer."""
SYSTEMS: tuple[System, ...] = ("prior", "GSLM", "GSLM+", "pGSLM", "pGSLM+")

FIGURES_FILE = "figures.json"


class PublishedResult(BaseModel):
    """What was published of one data set.

    Attributes:
        dataset: its name.
        metric: that the figures are of; of ``eer`` less is better.
        figures: shares of 1, by system.
        note: what is doubtful about them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    metric: Literal["accuracy", "f1", "eer"]
    figures: dict[System, float]
    note: str = ""


class PublishedFigures(BaseModel):
    """All that was published, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    tasks: dict[str, PublishedResult]


@cache
def published_figures() -> PublishedFigures:
    """The figures that come with this package."""
    data = importlib.resources.files(__name__).joinpath(FIGURES_FILE).read_bytes()
    return PublishedFigures.model_validate_json(data)
