"""Published results of SpeechPrompt v2 and of the work before it, by task."""

from __future__ import annotations

import importlib.resources
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

System = Literal["prior", "GSLM", "GSLM+", "pGSLM", "pGSLM+"]
"""Published systems; ``prior`` is the best work that the paper compares with, ``+`` stands for linear verbalizers."""
SYSTEMS: tuple[System, ...] = ("prior", "GSLM", "GSLM+", "pGSLM", "pGSLM+")

FIGURES_FILE = "figures.json"


class PublishedResult(BaseModel):
    """Published results on a data set.

    Attributes:
        dataset: name of the data set.
        metric: metric of the results; lower ``eer`` is better.
        figures: metric by system, as shares of 1.
        note: doubts about the results.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    metric: Literal["accuracy", "f1", "eer"]
    figures: dict[System, float]
    note: str = ""


class PublishedFigures(BaseModel):
    """All published results, and their source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    tasks: dict[str, PublishedResult]


@cache
def published_figures() -> PublishedFigures:
    """Return the packaged published results."""
    data = importlib.resources.files(__name__).joinpath(FIGURES_FILE).read_bytes()
    return PublishedFigures.model_validate_json(data)
