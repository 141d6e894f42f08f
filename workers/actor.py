"""The Ray Tune trainable: one trial tunes one gang of lanes; its actor is reused from gang to gang.

This is the only file of this package that knows Ray Tune. What a trial is told and what it reports are JSON values;
the LM comes from the object store, examples and outcomes go through object storage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
import torch
from pyarrow.fs import FileSelector
from ray import tune
from safetensors import SafetensorError

from infra.tracking import Tracking
from workers.backbone.sharing import SharedLM
from workers.gang_run import GangRun
from workers.orders import GangOrder

CHECKPOINT = "checkpoint_"
"""What Tune puts before the number of a checkpoint."""


class GangTrainable(tune.Trainable):
    """One trial. A step of Tune goes on to the next evaluation of a lane, then reports."""

    _run: GangRun

    def setup(self, config: dict[str, Any], *, shared: SharedLM | None = None) -> None:
        """Attach the LM, verify it, and begin with the first gang."""
        if shared is None:
            raise ValueError("the shared LM is handed over with tune.with_parameters")
        self._shared = shared
        # Only a GPU that Ray gave to this actor is its own to use.
        self._device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        shared.verify()
        self._lm = shared.attach(self._device)
        self._tracking: Tracking | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The actor goes on with another gang and keeps its LM."""
        self.cleanup()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Tune to the next evaluation; lanes that end there leave their outcomes."""
        report = self._run.step()
        return {"done": self._run.done, **report}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Full state of the gang and its queue, without pickling."""
        self._run.save(Path(checkpoint_dir))

    def restore(self, checkpoint_path: Any) -> None:
        """Continue from the newest checkpoint of the trial that is whole; begin again if there is none.

        A driver that was killed may not have noted that the checkpoint it names has been replaced by a newer one.
        All of them are states of the same deterministic lanes, so each leads to the same prompts.
        """
        for number, checkpoint in _beside(checkpoint_path.checkpoint):
            try:
                super().restore(checkpoint)
            except (OSError, SafetensorError, ValueError):
                continue  # half written or half deleted when the actor was killed
            # The next one must not be written over this one.
            assert self._storage is not None  # noqa: S101
            self._storage.current_checkpoint_index = number
            return
        self.reset_config(self.config)

    def load_checkpoint(self, checkpoint: str | dict[str, Any] | None) -> None:
        """Continue a gang."""
        if not isinstance(checkpoint, str):
            raise TypeError("a gang's checkpoint is a directory")
        self._run.load(Path(checkpoint))

    def cleanup(self) -> None:
        """Send what MLflow has not heard yet."""
        if self._tracking is not None:
            self._tracking.close()
            self._tracking = None

    def _begin(self, config: dict[str, Any]) -> None:
        order = GangOrder.model_validate(config["gang"])
        if self._device.type == "cpu":
            torch.set_num_threads(max(1, int(order.cpus)))
        self._tracking = Tracking(order.tracking, Path(order.spool))
        self._run = GangRun(order, lm=self._lm, shared=self._shared, tracking=self._tracking)


def _beside(checkpoint: tune.Checkpoint) -> list[tuple[int, tune.Checkpoint]]:
    """Numbers and checkpoints of the same trial, the newest first."""
    assert checkpoint.filesystem is not None  # noqa: S101
    trial = str(Path(checkpoint.path).parent)
    found = checkpoint.filesystem.get_file_info(FileSelector(trial, allow_not_found=True))
    numbered = [
        (int(entry.base_name.removeprefix(CHECKPOINT)), entry.path)
        for entry in found
        if entry.base_name.startswith(CHECKPOINT)
    ]
    return [(number, tune.Checkpoint(path, checkpoint.filesystem)) for number, path in sorted(numbered, reverse=True)]
