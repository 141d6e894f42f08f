"""How a gang fares, as a small file beside the job's outcomes that anybody may read while it runs.

``<job>/status/<gang>.json``; it is replaced as a whole, and says nothing that a resubmission goes by.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra import object_storage
from workers.job_store.files import GANG_STATUS

STATUS_DIRECTORY = "status"

Standing = Literal["waiting", "tuning", "parked", "ended", "failed"]
"""``parked``: at a rung of its sweep's halving, until the others are there; ``failed``: ended without a prompt."""


class LaneStatus(BaseModel):
    """How far one lane is.

    Attributes:
        lane: name of its run.
        step, steps: optimizer steps taken, and planned at most.
        metric: what its task selects by.
        value: that metric at its last evaluation by this process, on the validation examples.
        error: why it has no prompt, for one that failed.
    """

    model_config = ConfigDict(extra="forbid")

    lane: str = Field(max_length=400)
    task: str = Field(max_length=200)
    state: Standing
    step: int = Field(ge=0)
    steps: int = Field(ge=0)
    metric: str = Field(max_length=64)
    value: float | None = None
    error: str | None = Field(None, max_length=20_000)


class GangStatus(BaseModel):
    """How a gang was when its worker last wrote.

    Attributes:
        submission: key of the submission that it runs for.
        node, host, pid: where.
        device: ``cpu`` or ``cuda``.
        width: lanes that share a forward pass at most.
        since: when this process took it up.
        updated: when this was written.
        checkpoint: when this process last saved it.
        done: whether every lane has ended.
    """

    model_config = ConfigDict(extra="forbid")

    gang: str = Field(max_length=400)
    submission: str = Field(max_length=400)
    host: str = Field(max_length=256)
    pid: int
    device: str = Field(max_length=32)
    width: int = Field(ge=1)
    since: datetime
    updated: datetime
    checkpoint: datetime | None = None
    done: bool = False
    lanes: list[LaneStatus] = Field(max_length=100_000)


def write_status(root: str, status: GangStatus) -> None:
    """Replace the gang's file below ``root``.

    Raises:
        StorageError: it cannot be written.
    """
    GANG_STATUS.write(object_storage.join(root, f"{status.gang}.json"), status.model_dump_json().encode())


def read_status(uri: str) -> GangStatus:
    """A gang's file.

    Raises:
        DamagedFile: it is not what a worker wrote there.
        StorageError: it cannot be read.
    """
    try:
        return GangStatus.model_validate_json(GANG_STATUS.read(uri))
    except ValidationError as error:
        raise GANG_STATUS.damaged(uri, "is not a status that this version reads") from error
