"""The Ray Tune trainable: one trial tunes one gang of lanes; its actor is reused from gang to gang.

This is the only file of this package that knows Ray Tune. What a trial is told and what it reports are JSON values;
the LM comes from the object store, examples and outcomes go through object storage.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import torch
from pyarrow.fs import FileSelector, FileType
from ray import tune
from ray.tune.result import DONE, SHOULD_CHECKPOINT

from infra.errors import DamagedFile
from infra.json_log import log_as_json
from infra.tracking import Tracking
from workers.backbone.sharing import SharedLM
from workers.tuning.orders import GangOrder
from workers.tuning.run.session import GangSession
from workers.tuning.run.watch import GangWatch, Gauges

if TYPE_CHECKING:
    from ray.train._internal.storage import StorageContext


REPORT = "gang_report"
"""Key of a step's ``GangReport`` among what Tune makes of the step."""
CHECKPOINT = re.compile(r"checkpoint_(\d+)")
"""How Tune names a checkpoint."""
STEP_SECONDS = 2.0
"""Longest step of Tune: how soon a gang hears that the job is interrupted."""
CHECKPOINT_SECONDS = 60.0
"""Between two checkpoints, if no evaluation comes before; it is what a worker that dies has done in vain at most."""


class GangTrainable(tune.Trainable):
    """One trial. A step of Tune goes on to the next evaluation of a lane, or for some seconds, then reports."""

    _session: GangSession | None = None

    def setup(self, config: dict[str, Any], *, shared: SharedLM | None = None, tracking: str = "") -> None:
        """Attach the LM, verify it, and begin with the first gang; ``tracking`` is the whole URI of the orders'."""
        if shared is None:
            raise ValueError("the shared LM is handed over with tune.with_parameters")
        self._shared, self._tracking_uri = shared, tracking
        # Only a GPU that Ray gave to this actor is its own to use.
        self._device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        shared.verify()
        self._lm = shared.attach(self._device)
        # Into the log of the worker, which Ray keeps; people read results and MLflow.
        log_as_json()
        self._gauges = Gauges()
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The actor goes on with another gang and keeps its LM."""
        self.cleanup()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Tune to the next evaluation; lanes that end there leave their outcomes."""
        report = self.session.step(STEP_SECONDS)
        due = report.evaluated or time.monotonic() - self._saved > CHECKPOINT_SECONDS
        return {DONE: self.session.done, SHOULD_CHECKPOINT: due, REPORT: asdict(report)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Full state of the gang and its queue, without pickling."""
        self.session.save(Path(checkpoint_dir))
        self._saved = time.monotonic()

    def restore(self, checkpoint_path: Any) -> None:
        """Nothing: every trial begins with its newest checkpoint, of which a driver need not have heard."""

    def cleanup(self) -> None:
        """Send what MLflow has not heard yet, and that lanes which have not ended do not go on here."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @property
    def session(self) -> GangSession:
        """Of the gang that is tuned now."""
        assert self._session is not None  # noqa: S101
        return self._session

    def _begin(self, config: dict[str, Any]) -> None:
        order = GangOrder.model_validate(config["gang"])
        if self._device.type == "cpu":
            torch.set_num_threads(max(1, int(order.cpus)))
        self._session = GangSession(
            order,
            lm=self._lm,
            shared=self._shared,
            tracking=Tracking(self._tracking_uri or order.tracking, Path(order.spool)),
            watch=GangWatch(order, device=self._device.type, gauges=self._gauges, frozen=self._shared.size),
        )
        self._saved = time.monotonic()
        if self._storage is None:
            self._session.take_up([])
        else:
            _take_up(self._session, self._storage)


def _take_up(session: GangSession, storage: StorageContext) -> None:
    """Continue from the newest checkpoint in the trial's directory that is whole.

    The directory has the gang's name, so that it is found by any driver, also where the one that was killed had
    not noted it. All are states of the same deterministic lanes, so each leads to the same prompts.
    """
    found = _checkpoints(storage)
    newest_first = found[::-1]
    taken = session.take_up([checkpoint.as_directory for _, checkpoint in newest_first])
    for place, (_, checkpoint) in enumerate(newest_first):
        # Tune deletes those of which its driver knows.
        if place != taken and checkpoint.filesystem is not None:
            with suppress(FileNotFoundError):
                checkpoint.filesystem.delete_dir(checkpoint.path)
    if found:
        # The next one must not be written over what is left of another.
        storage.current_checkpoint_index = found[-1][0]


def _checkpoints(storage: StorageContext) -> list[tuple[int, tune.Checkpoint]]:
    """Numbers and checkpoints in the directory of a trial, the newest last.

    Raises:
        DamagedFile: something else stands in place of one, which Tune would write through or stumble over.
    """
    filesystem = storage.storage_filesystem
    found = filesystem.get_file_info(FileSelector(storage.trial_fs_path, allow_not_found=True))
    numbered = [(int(match[1]), entry) for entry in found if (match := CHECKPOINT.fullmatch(entry.base_name))]
    for _, entry in numbered:
        # Names in S3 are no local paths, and no links.
        if entry.type != FileType.Directory or Path(entry.path).is_symlink():
            raise DamagedFile(f"{entry.path} is no directory, and stands in place of a checkpoint; remove it")
    ordered = sorted(numbered, key=itemgetter(0))
    return [(number, tune.Checkpoint(entry.path, filesystem)) for number, entry in ordered]
