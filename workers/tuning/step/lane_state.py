"""All of a lane that changes while it is tuned, so that it can leave a gang and go on in another, or later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from pydantic import BaseModel, TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from workers.tuning.lane_spec import Stop

TENSORS_FILE, PROGRESS_FILE = "lanes.safetensors", "lanes.json"
STORED_NAMES: Final = {
    "values": "values",
    "best": "best",
    "exp_avg": "first",
    "exp_avg_sq": "second",
    "generator": "generator",
}
"""By attribute of ``LaneState``, how its tensor is called in a checkpoint."""


@dataclass
class Progress:
    """How far a lane is; with its tensors this is all that a checkpoint holds.

    Attributes:
        step: optimizer steps taken since the lane began, or began again.
        best_score: metric and negative loss of the best evaluation; more is better.
        best_step: step of that evaluation.
        evaluations_since_best: how many came after it.
        stopped: why it stopped; ``None`` while it goes on.
        learned: whether it was ever better than the most frequent classes are.
        restarts: how often it has begun again with another draw.
        discarded: steps taken before it last began again.
    """

    step: int = 0
    best_score: tuple[float, float] | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    stopped: Stop | None = None
    learned: bool = False
    restarts: int = 0
    discarded: int = 0

    @property
    def taken(self) -> int:
        """Optimizer steps in all."""
        return self.discarded + self.step


@dataclass(frozen=True)
class LaneState:
    """How far a lane is.

    Attributes:
        values: its trained numbers, float32 [size].
        best: those it would keep now, float32 [size].
        exp_avg, exp_avg_sq: Adam's moments, float32 [size]; Adam's clock is ``progress.step``.
        generator: state of its random stream, uint8.
        progress: steps, best score, why it stopped.
        losses: training loss by optimizer step since the last evaluation.
    """

    values: Tensor
    best: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    generator: Tensor
    progress: Progress
    losses: list[tuple[int, float]]


def save_states(directory: Path, states: Mapping[str, LaneState]) -> None:
    """Store lanes by name, without pickling."""
    tensors = {
        f"{name}.{stored}": getattr(state, part).cpu().contiguous()
        for name, state in states.items()
        for part, stored in STORED_NAMES.items()
    }
    save_file(tensors, directory / TENSORS_FILE)
    saved = {name: {"progress": asdict(state.progress), "losses": state.losses} for name, state in states.items()}
    (directory / PROGRESS_FILE).write_text(json.dumps(saved))


def load_states(directory: Path) -> dict[str, LaneState]:
    """Inverse of ``save_states``, of a checkpoint that was checked.

    Raises:
        ValueError: the files are of another version.
    """
    tensors = load_file(directory / TENSORS_FILE)
    saved = _SAVED.validate_python(json.loads((directory / PROGRESS_FILE).read_bytes()))
    return {name: _state(name, lane, tensors) for name, lane in saved.items()}


class _SavedLane(BaseModel):
    progress: Progress
    losses: list[tuple[int, float]]


_SAVED = TypeAdapter(dict[str, _SavedLane])


def _state(name: str, saved: _SavedLane, tensors: Mapping[str, Tensor]) -> LaneState:
    parts: dict[str, Tensor] = {}
    values = tensors.get(f"{name}.values")
    for part, stored in STORED_NAMES.items():
        found = tensors.get(f"{name}.{stored}")
        like, dtype = (found, torch.uint8) if part == "generator" else (values, torch.float32)
        if found is None or like is None or found.ndim != 1 or found.shape != like.shape or found.dtype != dtype:
            raise ValueError(f"{stored} of lane {name} is missing, or not what a lane holds")
        parts[part] = found
    return LaneState(**parts, progress=saved.progress, losses=saved.losses)
