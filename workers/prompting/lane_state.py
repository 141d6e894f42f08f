"""All of a lane that changes while it is tuned, so that it can leave a gang and go on in another, or later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from workers.prompting.lane import Lane, Progress

TENSORS_FILE, PROGRESS_FILE = "lanes.safetensors", "lanes.json"


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
        f"{name}.{part}": getattr(state, part).cpu().contiguous()
        for name, state in states.items()
        for part in ("values", "best", "first", "second", "generator")
    }
    save_file(tensors, directory / TENSORS_FILE)
    saved = {name: {"progress": asdict(state.progress), "losses": state.losses} for name, state in states.items()}
    (directory / PROGRESS_FILE).write_text(json.dumps(saved))


def load_states(directory: Path) -> dict[str, LaneState]:
    """Inverse of ``save_states``.

    Raises:
        OSError, ValueError, safetensors.SafetensorError: the files are missing or damaged.
    """
    tensors = load_file(directory / TENSORS_FILE)
    saved: dict[str, dict[str, Any]] = json.loads((directory / PROGRESS_FILE).read_text())
    return {
        name: LaneState(
            **{part: tensors[f"{name}.{part}"] for part in ("values", "best", "first", "second", "generator")},
            progress=_progress(entry["progress"]),
            losses=[(step, loss) for step, loss in entry["losses"]],
        )
        for name, entry in saved.items()
    }


def _progress(saved: dict[str, Any]) -> Progress:
    score = saved.pop("best_score")
    return Progress(best_score=None if score is None else (score[0], score[1]), **saved)
