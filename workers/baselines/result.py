"""What a baseline reached, as stored: ``<results>/<key>.json``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from infra import object_storage
from infra.errors import ObjectNotFound
from workers.baselines.kind import BaselineKind
from workers.job_store.files import BASELINE


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
    """

    model_config = ConfigDict(extra="forbid")

    key: str
    kind: BaselineKind
    figures: dict[str, dict[str, float]] = {}
    trained: int = 0
    settings: dict[str, JsonValue] = {}
    seconds: float = 0.0
    error: str | None = None


def write_result(root: str, result: BaselineResult) -> None:
    """Store a result; one that is there already is replaced."""
    BASELINE.write(_place(root, result.key), result.model_dump_json(indent=2).encode())


def read_result(root: str, key: str) -> BaselineResult | None:
    """The result of a baseline, or ``None`` if there is none yet.

    Raises:
        DamagedFile: what is stored is not what the baseline left.
        StorageError: it cannot be read.
    """
    place = _place(root, key)
    try:
        return BaselineResult.model_validate_json(BASELINE.read(place))
    except ObjectNotFound:
        return None
    except ValidationError as error:
        raise BASELINE.damaged(place, "is not a result that this version reads") from error


def _place(root: str, key: str) -> str:
    return object_storage.join(root, f"{key}.json")
