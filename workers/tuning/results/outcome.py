"""What a lane leaves behind: the prompt it kept, how good it is, and why it stopped.

``<outcomes>/<lane key>/prompt.safetensors`` holds the tensors, ``answers_test.safetensors`` what the prompt answered on
the test split, ``lane.json`` everything else; a detector leaves its scores and error rates beside them,
``scores_test.tsv`` and ``det_test.tsv``. The JSON file is written last, sealed, and says what the others hold: a lane
without it has not finished, and one of which a byte is altered is tuned again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors.numpy import save

from infra import object_storage
from infra.digest import FileEntry
from infra.errors import ObjectNotFound, TuningError
from task_specs.metric import METRICS, slot_figure
from workers.evaluation.bootstrap import Interval
from workers.evaluation.confusion import Cells
from workers.job_store.files import OUTCOME, PROMPT, JobFile
from workers.tuning.lane_spec import LaneSpec, Stop
from workers.untrusted.tensor_file import parse_tensors

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
        restarts: how often it began again with another draw, since it did not learn.
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
    restarts: int = 0
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
    return PROMPT.read_listed(
        object_storage.join(root, outcome.key, name), outcome.files.get(name), listing=OUTCOME_FILE
    )


def parsed_outcome_file(
    root: str, outcome: LaneOutcome, name: str, kind: JobFile, parse: Callable[[bytes], _Value]
) -> _Value | None:
    """What a file beside an outcome says; ``None`` where the lane left none of this name.

    Raises:
        DamagedFile: it is not what the lane left.
        StorageError: it cannot be read.
    """
    if name not in outcome.files:
        return None
    try:
        return parse(read_outcome_file(root, outcome, name))
    except (ValueError, KeyError) as error:
        place = object_storage.join(root, outcome.key, name)
        raise kind.damaged(place, "is not a file that this version reads") from error


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


def by_point(outcomes: Sequence[LaneOutcome]) -> dict[str, list[LaneOutcome]]:
    """Outcomes by the settings they tried, in their order."""
    points: dict[str, list[LaneOutcome]] = {}
    for outcome in outcomes:
        points.setdefault(outcome.point, []).append(outcome)
    return points


def best_point(outcomes: Sequence[LaneOutcome]) -> list[LaneOutcome]:
    """The outcomes of the best point, one per seed: by the mean over seeds of the metric on the validation split, then
    of the loss. A point of which a seed failed, or was dropped, is out.

    Args:
        outcomes: of all lanes of a task, at least one.

    Raises:
        TuningError: every point is out; the message is that of the first lane that failed.
    """
    whole = [lanes for lanes in by_point(outcomes).values() if _is_whole(lanes)]
    if not whole:
        raise TuningError(next(outcome.error for outcome in outcomes if outcome.error is not None))
    metric = METRICS[outcomes[0].spec.metric]
    return max(whole, key=lambda lanes: (metric.score(mean_valid(lanes)), -_mean(lanes, "loss")))


def prompts_add(outcomes: Sequence[LaneOutcome]) -> float | None:
    """What prompt vectors add to the metric on test: mean over seeds of the best point that has some, less that
    of the point that differs in having none; above 0 where they help.

    Args:
        outcomes: of all lanes of a task.

    Returns:
        ``None`` where no such pair was tuned with every seed.
    """
    whole = [lanes for lanes in by_point(outcomes).values() if _is_whole(lanes)]
    bare = {lanes[0].spec.recipe: lanes for lanes in whole if not lanes[0].spec.recipe.prompt_length}
    pairs = [
        (lanes, without)
        for lanes in whole
        if lanes[0].spec.recipe.prompt_length
        and (without := bare.get(lanes[0].spec.recipe.model_copy(update={"prompt_length": 0}))) is not None
    ]
    if not pairs:
        return None
    metric = METRICS[outcomes[0].spec.metric]
    best, without = max(pairs, key=lambda pair: (metric.score(mean_valid(pair[0])), -_mean(pair[0], "loss")))
    with_prompts, alone = (
        metric.score(statistics.fmean(lane.figures["test"][lane.spec.metric] for lane in lanes))
        for lanes in (best, without)
    )
    return with_prompts - alone


def has_whole_point(outcomes: Sequence[LaneOutcome]) -> bool:
    """Whether there is a point to choose."""
    return any(_is_whole(lanes) for lanes in by_point(outcomes).values())


def best_lane(lanes: Sequence[LaneOutcome]) -> LaneOutcome:
    """The best seed of a point by the metric on the validation split; the first of equal ones."""
    name = lanes[0].spec.metric
    return max(lanes, key=lambda outcome: METRICS[name].score(outcome.figures["valid"][name]))


def mean_valid(lanes: Sequence[LaneOutcome]) -> float:
    """Mean over seeds of the metric on the validation split."""
    return _mean(lanes, lanes[0].spec.metric)


def _is_whole(lanes: Sequence[LaneOutcome]) -> bool:
    return all(lane.error is None and lane.stopped != "dropped" for lane in lanes)


def _mean(lanes: Sequence[LaneOutcome], figure: str) -> float:
    return statistics.fmean(outcome.figures["valid"][figure] for outcome in lanes)
