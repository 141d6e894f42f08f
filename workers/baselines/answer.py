"""What every baseline gives, whichever way it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from task_specs.example import Split
from workers.prompting.metrics import Predictions


@dataclass(frozen=True)
class Answer:
    """Class scores of a baseline.

    Attributes:
        predictions: of the splits valid and test.
        trained: trained numbers.
        settings: what was chosen on validation, and how.
    """

    predictions: Mapping[Split, Predictions]
    trained: int = 0
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
