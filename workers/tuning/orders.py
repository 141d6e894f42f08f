"""What an actor is told: the lanes of a gang, and where everything is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from infra.tracking.address import Address
from task_specs.sweep import Halving
from workers.precision import ResolvedPrecision
from workers.tuning.lane_spec import LaneSpec


class LaneOrder(BaseModel):
    """A lane to tune, and how its run is called and described in MLflow.

    Attributes:
        key: digest of all that its prompt depends on.
        point: the settings of a sweep that it tries.
        attempt: how often it has been ordered, this time included.
        generation: the attempt with which its job last began anew.
        halving: how the points of its task's sweep are thinned out.
        workers: ranks that tune it together.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    spec: LaneSpec
    run_name: str
    params: dict[str, str]
    point: str = ""
    attempt: int = 1
    generation: int = 1
    halving: Halving | None = None
    workers: int = 1


def run_key(key: str, generation: int) -> str:
    """Key of a lane's MLflow run: one for all attempts since the job last began anew."""
    return key if generation == 1 else f"{key}/{generation}"


class GangOrder(BaseModel):
    """All that a trial is told.

    Attributes:
        name: of the gang.
        lanes: to tune; the first ``width`` start, the others join as lanes leave.
        width: lanes that share a forward pass at most.
        precision: of the LM's matrix products.
        cpus: threads to compute with.
        outcomes: where outcomes are written.
        experiment: MLflow experiment.
        parent_key: key of the MLflow run above the lanes' runs.
        tracking: MLflow tracking URI.
        spool: local directory in which unsent tracking data waits.
        began_in: directory of the checkpoints of another gang in which these lanes began, ``None`` if they begin here.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    lanes: tuple[LaneOrder, ...]
    width: int
    precision: ResolvedPrecision
    cpus: float
    outcomes: str
    experiment: str
    parent_key: str
    tracking: Address
    spool: str
    began_in: str | None = None
