"""The checkpoint of a gang: where its lanes are and the state of those that have begun, all of it or nothing."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from infra import object_storage
from workers.job_store.checkpoint import MANIFEST_FILE, check_checkpoint, seal_checkpoint
from workers.job_store.files import CHECKPOINT
from workers.tuning.run.queue import QUEUE_FILE, SavedQueue
from workers.tuning.step.lane_state import PROGRESS_FILE, TENSORS_FILE, LaneState, load_states, save_states

GANG_FILES: Final = (TENSORS_FILE, PROGRESS_FILE, QUEUE_FILE)
WHOLE: Final = re.compile(rf"(checkpoint_\d+)/{MANIFEST_FILE}")
"""The file of a checkpoint that is written last."""

Opener = Callable[[], AbstractContextManager[str | Path]]
"""Brings a checkpoint to a local directory for the time of the block."""


def write_gang(directory: Path, saved: SavedQueue, states: Mapping[int, LaneState], *, unit_lm: str) -> None:
    """Store a gang, without pickling.

    Args:
        directory: an empty one.
        saved: where its lanes are.
        states: by number, of lanes that have begun.
        unit_lm: fingerprint of the LM that they are tuned on.
    """
    save_states(directory, {str(number): state for number, state in states.items()})
    saved.write(directory)
    seal_checkpoint(directory, GANG_FILES, _belongs(unit_lm))


def read_gang(directory: Path, *, unit_lm: str) -> tuple[SavedQueue, dict[int, LaneState]]:
    """Inverse of ``write_gang``.

    Raises:
        ObjectNotFound: the checkpoint is not whole.
        DamagedFile: it is not what was written, or is of another LM.
    """
    check_checkpoint(directory, _belongs(unit_lm))
    try:
        saved = SavedQueue.read(directory)
        states = {int(number): state for number, state in load_states(directory).items()}
    except (ValueError, OSError) as error:
        raise CHECKPOINT.damaged(str(directory), f"is of another version ({error})") from error
    if lost := saved.begun - states.keys():
        raise CHECKPOINT.damaged(str(directory), f"has no state of lanes {sorted(lost)}, which had begun")
    return saved, states


def _belongs(unit_lm: str) -> str:
    """The keys of lanes, which the checkpoint holds, say all else that a state depends on."""
    return f"a gang on unit LM {unit_lm}"


def checkpoints_in(directory: str) -> list[Opener]:
    """The checkpoints of a gang that look whole, the newest first.

    Args:
        directory: of the gang, local or S3.

    Raises:
        StorageError: it cannot be read.
    """
    found = [match[1] for name in object_storage.list_files(directory) if (match := WHOLE.fullmatch(name))]
    return [partial(_at_hand, object_storage.join(directory, name)) for name in sorted(found, reverse=True)]


@contextmanager
def _at_hand(checkpoint: str) -> Iterator[str | Path]:
    """A local directory with the files of a checkpoint."""
    if not object_storage.is_s3(checkpoint):
        yield checkpoint
        return
    with tempfile.TemporaryDirectory() as directory:
        for file in (MANIFEST_FILE, *GANG_FILES):
            object_storage.download(object_storage.join(checkpoint, file), str(Path(directory) / file))
        yield directory
