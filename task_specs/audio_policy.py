"""Policy for recordings that are too long, too short or unreadable."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from task_specs.validation import fault


class AudioPolicy(BaseModel):
    """Limits on the length of recordings, and what is done with recordings outside them.

    A quarantined recording is not used for tuning or evaluation, and is counted in the report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    min_seconds: float = Field(0.1, ge=0, le=60, allow_inf_nan=False)
    """Shortest recording that is used unchanged."""
    max_seconds: float = Field(30.0, gt=0, le=600, allow_inf_nan=False)
    """Longest recording that is used unchanged."""
    too_long: Literal["crop", "window", "quarantine", "error"] = "crop"
    """``crop`` keeps the first ``max_seconds``; ``window`` cuts the recording into windows of that length, which are
    separate training examples, and averages their class scores to classify it; ``error`` fails the task."""
    too_short: Literal["quarantine", "pad"] = "quarantine"
    """``pad`` appends silence up to ``min_seconds``."""
    unreadable: Literal["quarantine", "error"] = "quarantine"
    """``error`` fails the task if a file cannot be decoded."""

    @property
    def cuts(self) -> bool:
        """Whether recordings that are too long are used, cropped or in windows."""
        return self.too_long in ("crop", "window")

    @property
    def window_seconds(self) -> float | None:
        """Length of windows; ``None`` if recordings are not cut into windows."""
        return self.max_seconds if self.too_long == "window" else None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_seconds >= self.max_seconds:
            raise fault(
                f"min_seconds ({self.min_seconds:g}) is not below max_seconds ({self.max_seconds:g})",
                "raise max_seconds or lower min_seconds",
            )
        return self
