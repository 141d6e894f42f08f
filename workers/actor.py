"""The Ray Tune trainable: one trial tunes one gang of lanes; its actor is reused from gang to gang.

This is the only file of this package that knows Ray Tune. What a trial is told and what it reports are JSON values;
the LM comes from the object store, examples and outcomes go through object storage.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from pyarrow.fs import FileSelector
from pydantic import BaseModel, ConfigDict
from ray import tune
from safetensors import SafetensorError

from infra import object_storage
from infra.errors import DatasetError
from infra.tracking import RunLog, Tracking
from task_specs.example import SPLITS
from workers.backbone.sharing import SharedLM
from workers.lane_log import log_begin, log_evaluation, log_outcome
from workers.precision import Precision
from workers.prompting.examples import TaskExamples
from workers.prompting.gang import Evaluation, Gang
from workers.prompting.lane import Lane, LaneSpec
from workers.prompting.metrics import Predictions, measure
from workers.prompting.outcome import LaneOutcome, write_outcome

CHECKPOINT = "checkpoint_"
"""What Tune puts before the number of a checkpoint."""

MLFLOW_SECONDS = 10.0
"""Time that MLflow is given at the end of a gang, so that its lanes know their runs."""


class LaneOrder(BaseModel):
    """A lane to tune, and how its run is called and described in MLflow."""

    model_config = ConfigDict(frozen=True)

    key: str
    spec: LaneSpec
    run_name: str
    params: dict[str, str]


class GangOrder(BaseModel):
    """All that a trial is told.

    Attributes:
        name: of the gang.
        lanes: the lanes that share each forward pass.
        precision: of the LM's matrix products.
        cpus: threads to compute with.
        outcomes: where outcomes are written.
        experiment: MLflow experiment.
        parent_key: key of the MLflow run above the lanes' runs.
        tracking: MLflow tracking URI.
        spool: local directory in which unsent tracking data waits.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    lanes: tuple[LaneOrder, ...]
    precision: Precision
    cpus: float
    outcomes: str
    experiment: str
    parent_key: str
    tracking: str
    spool: str


class GangTrainable(tune.Trainable):
    """One trial. A step of Tune goes on to the next evaluation of a lane, then reports."""

    _gang: Gang

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
        """Tune to the next evaluation; the last step writes the outcomes."""
        started = time.monotonic()
        evaluations = self._gang.run_to_evaluation()
        self._seconds += time.monotonic() - started
        for evaluation in evaluations:
            log_evaluation(self._logs[evaluation.lane], evaluation)
        done = not self._gang.active
        if done:
            self._finish()
        return {"done": done, **self._report(evaluations)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Full state of the gang, without pickling."""
        directory = Path(checkpoint_dir)
        self._gang.save(directory)
        (directory / "seconds").write_text(repr(self._seconds))

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
        self._gang.load(Path(checkpoint))
        self._seconds = float((Path(checkpoint) / "seconds").read_text())

    def cleanup(self) -> None:
        """Send what MLflow has not heard yet."""
        if self._tracking is not None:
            self._tracking.close()
            self._tracking = None

    def _begin(self, config: dict[str, Any]) -> None:
        self._order = GangOrder.model_validate(config["gang"])
        self._seconds = 0.0
        if self._device.type == "cpu":
            torch.set_num_threads(max(1, int(self._order.cpus)))
        unit_tokens = np.array(self._shared.unit_tokens, dtype=np.int64)
        lanes = [
            Lane(order.spec, examples=_examples(order.spec), lm=self._lm, unit_tokens=unit_tokens)
            for order in self._order.lanes
        ]
        self._gang = Gang(self._lm, lanes, precision=self._order.precision)
        self._tracking = Tracking(self._order.tracking, Path(self._order.spool))
        self._logs = [self._open_run(order, lane) for order, lane in zip(self._order.lanes, lanes, strict=True)]

    def _open_run(self, order: LaneOrder, lane: Lane) -> RunLog:
        assert self._tracking is not None  # noqa: S101
        log = self._tracking.run(
            self._order.experiment,
            order.run_name,
            key=order.key,
            parent_key=self._order.parent_key,
            params={**order.params, "trainable_parameters": lane.shape.size},
            tags={"task": order.spec.task, "seed": order.spec.seed},
        )
        log_begin(log, lane)
        return log

    def _finish(self) -> None:
        # Nothing tuned with weights that were tampered with leaves this worker.
        self._shared.verify()
        assert self._tracking is not None  # noqa: S101
        self._tracking.flush(MLFLOW_SECONDS)
        for index, (order, log) in enumerate(zip(self._order.lanes, self._logs, strict=True)):
            self._finish_lane(index, order, log)

    def _finish_lane(self, index: int, order: LaneOrder, log: RunLog) -> None:
        lane = self._gang.lanes[index]
        progress = lane.progress
        assert progress.stopped is not None  # noqa: S101
        diverged = progress.stopped == "diverged"
        slots = [slot.name for slot in lane.spec.slots]
        predictions: dict[str, Predictions] = {}
        if not diverged:
            predictions = {
                split: self._gang.predict(index, lane.examples.splits[split], best=True) for split in SPLITS[1:]
            }
        outcome = LaneOutcome(
            key=order.key,
            spec=order.spec,
            lm_fingerprint=self._shared.fingerprint,
            error=_divergence(lane) if diverged else None,
            stopped=progress.stopped,
            steps=progress.step,
            best_step=progress.best_step,
            figures={split: measure(predicted, slots) for split, predicted in predictions.items()},
            trained=lane.shape.size,
            special_rows=lane.shape.special_rows,
            mapped_units=None if lane.mapped_units is None else [units.tolist() for units in lane.mapped_units],
            seconds=self._seconds / len(self._gang.lanes),
            run_id=log.run_id(),
        )
        views = lane.shape.views(self._gang.best[index].cpu())
        write_outcome(self._order.outcomes, outcome, {name: view.numpy() for name, view in views.items()})
        if diverged:
            log.tags({"stopped": "diverged", "error": outcome.error})
            log.finish("FAILED")
        else:
            log_outcome(log, lane, outcome, predictions["test"])
            log.finish("FINISHED")

    def _report(self, evaluations: list[Evaluation]) -> dict[str, Any]:
        """What the driver shows while the gang runs."""
        lanes = self._gang.lanes
        report: dict[str, Any] = {
            "lane_steps": sum(lane.progress.step for lane in lanes),
            "lane_steps_planned": sum(lane.spec.recipe.steps if lane.active else lane.progress.step for lane in lanes),
        }
        if evaluations:
            last = evaluations[-1]
            spec = lanes[last.lane].spec
            report |= {"lane": spec.name, "metric": last.figures[spec.metric], "loss": last.figures["loss"]}
        return report


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


def _examples(spec: LaneSpec) -> TaskExamples:
    """The lane's encoded examples.

    Raises:
        DatasetError: they are not what the plan made of them.
        StorageError: they cannot be read.
    """
    examples = TaskExamples.from_bytes(object_storage.read_bytes(spec.examples))
    if examples.digest() != spec.examples_digest:
        raise DatasetError(f"{spec.examples}: not the examples of {spec.task}; delete the file and run the job again")
    return examples


def _divergence(lane: Lane) -> str:
    rate = lane.spec.recipe.learning_rate
    return (
        f"{lane.spec.name}: the loss was not finite at step {lane.progress.step}; "
        f"lower recipe.learning_rate, which is {rate:g}"
    )
