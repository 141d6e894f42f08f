"""The checkpoint of a gang: where its lanes are and the state of those that have begun, all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from workers.job_store.checkpoint import check_checkpoint, seal_checkpoint
from workers.job_store.files import CHECKPOINT
from workers.tuning.run.queue import QUEUE_FILE, SavedQueue
from workers.tuning.step.lane_state import PROGRESS_FILE, TENSORS_FILE, LaneState, load_states, save_states

GANG_FILES: Final = (TENSORS_FILE, PROGRESS_FILE, QUEUE_FILE)


def write_gang(directory: Path, saved: SavedQueue, states: Mapping[int, LaneState], *, unit_lm: str) -> None:
    """Store a gang, without pickling.

    Args:
        directory: an empty one.
        saved: where its lanes are.
        states: by number, of those that have begun.
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
