"""What the worker of a baseline is told."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from infra.tracking.address import Address
from workers.precision import Precision
from workers.tuning.step.lane import LaneSpec


class BaselineOrder(BaseModel):
    """A baseline to compute, and how its run is called and described in MLflow.

    Attributes:
        key: digest of all that its figures depend on.
        kind: a key of ``BASELINES``.
        spec: a lane of the task, for its examples, slots, metric and seed; its recipe has no say.
        run_name, params: of its MLflow run.
        precision: of the LM's matrix products.
        results: where its result is written.
        experiment: MLflow experiment.
        parent_key: key of the MLflow run above its own.
        tracking: MLflow tracking URI.
        spool: local directory in which unsent tracking data waits.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    kind: str
    spec: LaneSpec
    run_name: str
    params: dict[str, str]
    precision: Precision
    results: str
    experiment: str
    parent_key: str
    tracking: Address
    spool: str
