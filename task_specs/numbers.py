"""Field types of numbers in a user's file. Each has an end, so that nothing is begun that could not end."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from task_specs.fault import fault
from task_specs.validation import described

MOST_STEPS: Final = 10_000_000
"""Optimizer steps; at a hundred a second they take a day."""
MOST_EXAMPLES: Final = 10_000_000
_FLOAT32_MAX: Final = 3.4028234663852886e38
"""What is trained, and what it is trained by, is float32."""


def number(value: Any) -> Any:
    """``value`` itself, unless it is a truth value, which pydantic takes for 1 or 0, or not finite.

    Raises:
        pydantic_core.PydanticCustomError: it is.
    """
    if isinstance(value, bool):
        raise fault(f"must be a number, not {described(value)}", "write a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise fault(f"must be a finite number, not {described(value)}", "write a number")
    return value


Int = Annotated[int, BeforeValidator(number)]
Float = Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False, ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)]
Steps = Annotated[Int, Field(le=MOST_STEPS)]
