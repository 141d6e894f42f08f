"""Lanes that go on in another gang than the one they began in, from its checkpoints."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra import object_storage
from infra.errors import DamagedFile, ObjectNotFound
from workers.checkpoint import MANIFEST_FILE
from workers.gang_run import GangRun
from workers.lane_queue import QUEUE_FILE
from workers.prompting.lane_state import PROGRESS_FILE, TENSORS_FILE

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
        for file in (MANIFEST_FILE, QUEUE_FILE, PROGRESS_FILE, TENSORS_FILE):
            object_storage.download(object_storage.join(checkpoint, file), str(Path(directory) / file))
        yield Path(directory)
