"""All of a lane that changes while it is tuned, so that it can leave a gang and go on in another, or later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from workers.tuning.step.lane import Lane, Progress

TENSORS_FILE, PROGRESS_FILE = "lanes.safetensors", "lanes.json"
PARTS = ("values", "best", "first", "second", "generator")


@dataclass(frozen=True)
class LaneState:
    """How far a lane is.

    Attributes:
        values: its trained numbers, float32 [size].
        best: those it would keep now, float32 [size].
        first, second: Adam's moments, float32 [size]; Adam's clock is ``progress.step``.
        generator: state of its random stream, uint8.
        progress: steps, best score, why it stopped.
        losses: training loss by optimizer step since the last evaluation.
    """

    values: Tensor
    best: Tensor
    first: Tensor
    second: Tensor
    generator: Tensor
    progress: Progress
    losses: list[tuple[int, float]]

    @classmethod
    def fresh(cls, lane: Lane) -> LaneState:
        """Of a lane that has not begun."""
        nothing = torch.zeros_like(lane.initial)
        return cls(lane.initial, lane.initial, nothing, nothing, lane.generator.get_state(), lane.progress, [])


def save_states(directory: Path, states: Mapping[str, LaneState]) -> None:
    """Store lanes by name, without pickling."""
    tensors = {
        f"{name}.{part}": getattr(state, part).cpu().contiguous() for name, state in states.items() for part in PARTS
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
    parts = {part: tensors[f"{name}.{part}"] for part in PARTS if f"{name}.{part}" in tensors}
    for part in PARTS:
        like, kind = (part, torch.uint8) if part == "generator" else ("values", torch.float32)
        found = parts.get(part)
        if found is None or found.ndim != 1 or found.shape != parts[like].shape or found.dtype != kind:
            raise ValueError(f"{part} of lane {name} is missing, or not what a lane holds")
    return LaneState(**parts, progress=saved.progress, losses=saved.losses)
