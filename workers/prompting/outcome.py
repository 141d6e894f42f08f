"""What a lane leaves behind: the prompt it kept, how good it is, and why it stopped.

``<outcomes>/<lane key>/prompt.safetensors`` holds the tensors, ``lane.json`` everything else; a detector leaves its
scores and error rates beside them, ``scores_test.tsv`` and ``det_test.tsv``. The JSON file is written last, sealed, and
says what the others hold: a lane without it has not finished, and one of which a byte is altered is tuned again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors.numpy import save

from infra import object_storage
from infra.errors import DamagedFile, ObjectNotFound
from task_specs.metric import slot_figure
from workers.file_entry import FileEntry
from workers.job_files import OUTCOME, PROMPT, how_damaged
from workers.prompting.bootstrap import Interval
from workers.prompting.confusion import Cells
from workers.prompting.lane import LaneSpec, Stop
from workers.tensor_file import parse_tensors

_Value = TypeVar("_Value")

OUTCOME_FILE, PROMPT_FILE = "lane.json", "prompt.safetensors"


class LaneOutcome(BaseModel):
    """How a lane ended.

    Attributes:
        key: the lane's digest.
        spec: what it was.
        lm_fingerprint: the unit LM it was tuned on.
        error: why there is no prompt; ``None`` for a lane that went well.
        stopped: ``steps``, ``patience``, ``diverged``, ``dropped`` or ``failed``.
        point: the settings of a sweep that it tried.
        attempt: how often it had been ordered.
        steps: optimizer steps taken.
        best_step: step of the kept prompt.
        figures: by split, every figure of the kept prompt.
        temperatures: by which its scores are divided, by slot; calibrated on validation.
        intervals: 95 % confidence intervals of the figures on the test split.
        draws: the metric on each of the bootstrap's draws of the test split, the same draws for all lanes of a task.
        confusions: of each slot on the test split.
        trained: trained numbers.
        special_rows: leading verbalizer rows that stand for no class.
        mapped_units: unit of each class of each slot, for a fixed verbalizer.
        seconds: time spent on steps and evaluations.
        run_id: its MLflow run, if MLflow was reached.
        files: those beside it.
    """

    # A draw of test examples that lacks the positive class has no equal error rate.
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    key: str
    spec: LaneSpec
    lm_fingerprint: str
    error: str | None = None
    stopped: Stop
    point: str = ""
    attempt: int = 1
    steps: int
    best_step: int
    figures: dict[str, dict[str, float]]
    temperatures: list[float] = []
    intervals: dict[str, Interval] = {}
    draws: list[float] = []
    confusions: list[Cells] = []
    trained: int
    special_rows: int
    mapped_units: list[list[int]] | None
    seconds: float
    run_id: str | None = None
    files: dict[str, FileEntry] = {}

    @model_validator(mode="after")
    def _figures_by_place(self) -> Self:
        """Takes the accuracy of a slot by its place, also from an outcome that has it by the slot's name."""
        names = {f"accuracy_{slot.name}": slot_figure("accuracy", place) for place, slot in enumerate(self.spec.slots)}
        self.figures = {split: _renamed(named, names) for split, named in self.figures.items()}
        self.intervals = _renamed(self.intervals, names)
        return self


def _renamed(values: dict[str, _Value], names: Mapping[str, str]) -> dict[str, _Value]:
    """The values under their new names; those that have all new names stay, for a slot may be called ``slot2``."""
    if values.keys() >= set(names.values()):
        return values
    return {names.get(name, name): value for name, value in values.items()}


def write_outcome(
    root: str,
    outcome: LaneOutcome,
    tensors: Mapping[str, NDArray[np.float32]],
    files: Mapping[str, bytes] | None = None,
) -> LaneOutcome:
    """Store an outcome with ``files`` beside it, in place of one that is there; returns it with what they hold."""
    directory = object_storage.join(root, outcome.key)
    contents = {PROMPT_FILE: save(dict(tensors)), **(files or {})}
    for name, content in contents.items():
        object_storage.write_bytes(object_storage.join(directory, name), content)
    outcome = outcome.model_copy(update={"files": {name: FileEntry.of(data) for name, data in contents.items()}})
    OUTCOME.write(object_storage.join(directory, OUTCOME_FILE), outcome.model_dump_json(indent=2).encode())
    return outcome


def read_outcome(root: str, key: str) -> LaneOutcome | None:
    """The outcome of a lane, with every file of it intact, or ``None`` if it has not finished.

    Raises:
        DamagedFile: it is not what the lane left.
        StorageError: it cannot be read.
    """
    place = object_storage.join(root, key, OUTCOME_FILE)
    try:
        outcome = LaneOutcome.model_validate_json(OUTCOME.read(place))
    except ObjectNotFound:
        return None
    except ValidationError as error:
        raise OUTCOME.damaged(place, "is not an outcome that this version reads") from error
    if outcome.key != key:
        raise OUTCOME.damaged(place, "is of another lane")
    for name in outcome.files:
        read_outcome_file(root, outcome, name)
    return outcome


def read_outcome_file(root: str, outcome: LaneOutcome, name: str) -> bytes:
    """A file beside an outcome.

    Raises:
        DamagedFile: it is not the one that the lane left, which left one of this name.
        StorageError: it cannot be read.
    """
    place = object_storage.join(root, outcome.key, name)
    entry = outcome.files.get(name)
    if entry is None:
        raise PROMPT.damaged(place, f"is not among the files of {OUTCOME_FILE}")
    try:
        data = object_storage.read_own(place, limit=entry.size)
    except ObjectNotFound as error:
        raise PROMPT.damaged(place, "is missing") from error
    except DamagedFile as error:
        raise PROMPT.damaged(place, how_damaged(place, error)) from error
    if not entry.describes(data):
        raise PROMPT.damaged(place, f"is not the file that {OUTCOME_FILE} describes")
    return data


def read_outcome_tensors(root: str, outcome: LaneOutcome) -> dict[str, NDArray[np.float32]]:
    """The kept prompt of a finished lane.

    Raises:
        DamagedFile: what is stored is not the prompt that the lane left.
        StorageError: it cannot be read.
    """
    try:
        return parse_tensors(read_outcome_file(root, outcome, PROMPT_FILE))
    except ValueError as error:
        raise PROMPT.damaged(object_storage.join(root, outcome.key, PROMPT_FILE), f"is {error}") from error
