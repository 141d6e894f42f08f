"""What a baseline reached, as stored: ``<results>/<key>.json``, and ``<key>.safetensors`` with what it answered on the
test split, which the JSON file vouches for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from infra import object_storage
from infra.digest import FileEntry
from infra.errors import ObjectNotFound
from workers.evaluation.answers import Answers
from workers.job_store.files import BASELINE, BASELINE_ANSWERS


class BaselineResult(BaseModel):
    """How good a baseline is.

    Attributes:
        key: digest of all that it depends on.
        kind: which one.
        figures: by split, valid and test, every figure that lanes have too.
        trained: trained numbers.
        settings: what was chosen on validation, and how.
        seconds: time taken.
        error: why there are no figures.
        answers: the file beside it; ``None`` where there are no figures.
    """

    model_config = ConfigDict(extra="forbid")

    key: str
    kind: str
    figures: dict[str, dict[str, float]] = {}
    trained: int = 0
    settings: dict[str, JsonValue] = {}
    seconds: float = 0.0
    error: str | None = None
    answers: FileEntry | None = None


def write_result(root: str, result: BaselineResult, answers: Answers | None = None) -> BaselineResult:
    """Store a result, in place of one that is there; returns it with what the answers' file holds."""
    if answers is not None:
        data = answers.to_bytes()
        object_storage.write_bytes(_answers_place(root, result.key), data)
        result = result.model_copy(update={"answers": FileEntry.of(data)})
    BASELINE.write(_place(root, result.key), result.model_dump_json(indent=2).encode())
    return result


def read_result(root: str, key: str) -> BaselineResult | None:
    """The result of a baseline, with its answers intact, or ``None`` if there is none yet.

    Raises:
        DamagedFile: what is stored is not what the baseline left.
        StorageError: it cannot be read.
    """
    place = _place(root, key)
    try:
        result = BaselineResult.model_validate_json(BASELINE.read(place))
    except ObjectNotFound:
        return None
    except ValidationError as error:
        raise BASELINE.damaged(place, "is not a result that this version reads") from error
    if result.answers is not None:
        read_baseline_answers(root, result)
    return result


def read_baseline_answers(root: str, result: BaselineResult) -> Answers:
    """What a baseline answered on the test split.

    Raises:
        DamagedFile: it is not what the baseline left.
        StorageError: it cannot be read.
    """
    place = _answers_place(root, result.key)
    data = BASELINE_ANSWERS.read_listed(place, result.answers, listing=f"{result.key}.json")
    try:
        return Answers.from_bytes(data)
    except (ValueError, KeyError) as error:
        raise BASELINE_ANSWERS.damaged(place, "is not a file that this version reads") from error


def _place(root: str, key: str) -> str:
    return object_storage.join(root, f"{key}.json")


def _answers_place(root: str, key: str) -> str:
    return object_storage.join(root, f"{key}.safetensors")
