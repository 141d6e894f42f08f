"""What the worker of a baseline is told."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from infra.tracking.address import Address
from task_specs.example import Split
from workers.precision import Precision
from workers.tuning.lane_spec import LaneSpec


class FeatureKeys(BaseModel):
    """Where the continuous features of a task's examples are.

    Attributes:
        root: of the unit cache, beside whose units they are.
        tokenizer: fingerprint of the tokenizer.
        splits: key of each example, in their order.
    """

    model_config = ConfigDict(frozen=True)

    root: str
    tokenizer: str
    splits: dict[Split, tuple[str, ...]]


class BaselineOrder(BaseModel):
    """A baseline to compute, and how its run is called and described in MLflow.

    Attributes:
        key: digest of all that its figures depend on.
        kind: a key of ``BASELINES``.
        spec: a lane of the task, for its examples, slots, metric and seed; its recipe has no say.
        run_name, params: of its MLflow run.
        precision: of the LM's matrix products.
        features: for a baseline that needs them; ``None`` where there are none.
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
    features: FeatureKeys | None = None
    results: str
    experiment: str
    parent_key: str
    tracking: Address
    spool: str
