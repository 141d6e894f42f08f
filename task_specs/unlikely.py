"""Settings that are allowed, and that nobody is likely to mean."""

from __future__ import annotations

import re
from typing import Final

from task_specs.schema import TaskSpec

LARGE_RATE: Final = 1.0
"""Learning rates of prompts are below 0.1; a rate above this is a slip of the decimal point."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
"""The form of a BCP 47 language tag that names a language; its parts are not looked up."""


def unlikely_settings(spec: TaskSpec) -> list[str]:
    """Return a note on each setting of a task that is unlikely to be meant."""
    notes = []
    if spec.language and not _LANGUAGE.fullmatch(spec.language):
        notes.append(f"language: {spec.language!r} is no language tag (BCP 47); write, for example, lt or de-AT")
    recipes = dict.fromkeys(point.recipe for point in spec.points)
    if high := [recipe.learning_rate for recipe in recipes if recipe.learning_rate > LARGE_RATE]:
        notes.append(f"recipe.learning_rate: {max(high):g} is very high; prompts are tuned with 0.001 to 0.05")
    for recipe in recipes:
        if recipe.evaluate_every is not None and recipe.evaluate_every > recipe.steps:
            notes.append(
                f"recipe.evaluate_every: {recipe.evaluate_every:,} is above steps, {recipe.steps:,}; the prompt is "
                "measured once, at the end"
            )
            break
    return notes
