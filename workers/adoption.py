"""Lanes that go on in another gang than the one they began in, from its checkpoints."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from safetensors import SafetensorError

from infra import object_storage
from infra.errors import ObjectNotFound
from workers.gang_run import GangRun
from workers.lane_queue import QUEUE_FILE
from workers.prompting.lane_state import PROGRESS_FILE, TENSORS_FILE

WHOLE = re.compile(rf"(checkpoint_\d+)/{QUEUE_FILE}")
"""The file of a checkpoint that is written last."""


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
        with tempfile.TemporaryDirectory() as directory:
            try:
                for file in (QUEUE_FILE, PROGRESS_FILE, TENSORS_FILE):
                    object_storage.download(
                        object_storage.join(began_in, checkpoint, file), str(Path(directory) / file)
                    )
                run.adopt(Path(directory))
            except (ObjectNotFound, OSError, SafetensorError, ValueError):
                continue  # half written or half deleted when its actor was killed
            return True
    return False
