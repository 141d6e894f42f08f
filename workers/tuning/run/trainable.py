"""The Ray Tune trainable: one trial tunes one gang of lanes; its actor is reused from gang to gang.

This is the only file of this package that knows Ray Tune. What a trial is told and what it reports are JSON values;
the LM comes from the object store, examples and outcomes go through object storage.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import torch
from pyarrow.fs import FileSelector, FileType
from ray import tune
from ray.tune.result import DONE, SHOULD_CHECKPOINT

from infra import object_storage
from infra.errors import DamagedFile, ObjectNotFound
from infra.json_log import log_as_json
from infra.tracking import Tracking
from workers.backbone.sharing import SharedLM
from workers.job_store.checkpoint import MANIFEST_FILE
from workers.tuning.orders import GangOrder
from workers.tuning.run.checkpoint import GANG_FILES
from workers.tuning.run.gang_run import GangRun
from workers.tuning.run.watch import GangWatch, Gauges

if TYPE_CHECKING:
    from ray.train._internal.storage import StorageContext


WHOLE = re.compile(rf"(checkpoint_\d+)/{MANIFEST_FILE}")
"""The file of a checkpoint that is written last."""

logger = logging.getLogger("speechprompt.gang")


def adopt_lanes(run: GangRun, began_in: str) -> bool:
    """Take over the newest whole checkpoint of another gang; lanes begin again if there is none.

    Args:
        run: of some of its lanes, before any step.
        began_in: directory of that gang's checkpoints, local or S3.

    Returns:
        Whether there was one.

    Raises:
        StorageError: the directory cannot be read.
    """
    found = [match[1] for name in object_storage.list_files(began_in) if (match := WHOLE.fullmatch(name))]
    for checkpoint in sorted(found, reverse=True):
        try:
            with _at_hand(object_storage.join(began_in, checkpoint)) as directory:
                run.adopt(directory)
        except ObjectNotFound:
            continue  # half deleted when its actor was killed
        except DamagedFile as error:
            logger.warning("%s", error)
            continue
        return True
    return False


@contextmanager
def _at_hand(checkpoint: str) -> Iterator[Path]:
    """A local directory with the files of a checkpoint."""
    if not object_storage.is_s3(checkpoint):
        yield Path(checkpoint)
        return
    with tempfile.TemporaryDirectory() as directory:
        for file in (MANIFEST_FILE, *GANG_FILES):
            object_storage.download(object_storage.join(checkpoint, file), str(Path(directory) / file))
        yield Path(directory)


CHECKPOINT = re.compile(r"checkpoint_(\d+)")
"""How Tune names a checkpoint."""
STEP_SECONDS = 2.0
"""Longest step of Tune: how soon a gang hears that the job is interrupted."""
CHECKPOINT_SECONDS = 60.0
"""Between two checkpoints, if no evaluation comes before; it is what a worker that dies has done in vain at most."""


class GangTrainable(tune.Trainable):
    """One trial. A step of Tune goes on to the next evaluation of a lane, or for some seconds, then reports."""

    _run: GangRun
    _notes: dict[str, str]
    """What the driver is told with the next report."""

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
        self._tracking: Tracking | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The actor goes on with another gang and keeps its LM."""
        self.cleanup()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Tune to the next evaluation; lanes that end there leave their outcomes."""
        assert self._tracking is not None  # noqa: S101
        report = self._run.step(STEP_SECONDS) | self._notes
        self._notes.clear()
        self._watch.report(
            self._run.lane_statuses(),
            width=self._run.width,
            done=self._run.done,
            unsent=self._tracking.unsent().events,
        )
        due = report["evaluated"] or time.monotonic() - self._saved > CHECKPOINT_SECONDS
        return {DONE: self._run.done, SHOULD_CHECKPOINT: due, **report}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Full state of the gang and its queue, without pickling."""
        self._run.save(Path(checkpoint_dir))
        self._saved = time.monotonic()
        self._watch.saved()

    def restore(self, checkpoint_path: Any) -> None:
        """Nothing: every trial begins with its newest checkpoint, of which a driver need not have heard."""

    def load_checkpoint(self, checkpoint: str | dict[str, Any] | None) -> None:
        """Continue a gang."""
        if not isinstance(checkpoint, str):
            raise TypeError("a gang's checkpoint is a directory")
        self._run.load(Path(checkpoint))

    def cleanup(self) -> None:
        """Send what MLflow has not heard yet, and that lanes which have not ended do not go on here."""
        if self._tracking is not None:
            if not self._run.done:
                self._run.interrupt()
            self._tracking.close()
            self._tracking = None

    def _begin(self, config: dict[str, Any]) -> None:
        order = GangOrder.model_validate(config["gang"])
        if self._device.type == "cpu":
            torch.set_num_threads(max(1, int(order.cpus)))
        self._tracking = Tracking(self._tracking_uri or order.tracking, Path(order.spool))
        self._run = GangRun(order, lm=self._lm, shared=self._shared, tracking=self._tracking)
        self._watch = GangWatch(order, device=self._device.type, gauges=self._gauges, frozen=self._shared.size)
        if order.began_in is not None:
            adopt_lanes(self._run, order.began_in)
        self._saved = time.monotonic()
        self._notes = {}
        if self._storage is not None:
            self._take_up(self._storage)

    def _take_up(self, storage: StorageContext) -> None:
        """Continue from the newest checkpoint in the trial's directory that is whole; begin if there is none.

        The directory has the gang's name, so that it is found by any driver, also where the one that was killed had
        not noted it. All are states of the same deterministic lanes, so each leads to the same prompts.
        """
        found = _checkpoints(storage)
        taken = None
        for number, checkpoint in reversed(found):
            try:
                with checkpoint.as_directory() as directory:
                    self.load_checkpoint(directory)
            except (FileNotFoundError, ObjectNotFound):
                continue  # half written or half deleted when a process was killed
            except DamagedFile as error:
                self._notes["note"] = str(error)
                continue
            taken = number
            break
        for number, checkpoint in found:
            # Tune deletes those of which its driver knows.
            if number != taken and checkpoint.filesystem is not None:
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
