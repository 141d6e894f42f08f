"""From the outcomes of a task's lanes to its published bundle."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue

from infra.errors import TuningError
from infra.tracking import Tracking
from task_specs.example import Split
from workers.backbone.sharing import SharedLM
from workers.bundle.format import Bundle
from workers.bundle.manifest import (
    BackboneIdentity,
    BundleManifest,
    Data,
    Metric,
    Prompt,
    Provenance,
    Slot,
    Spread,
    Task,
)
from workers.bundle.publish import Published, publish
from workers.prompting.outcome import LaneOutcome, read_outcome, read_outcome_tensors
from workers.prompting.prompt import read_outputs


class PublishOrder(BaseModel):
    """All that publishing a task needs besides the LM.

    Attributes:
        lanes: key and run name of each lane of the task.
        outcomes: where their outcomes are.
        bundles: where bundles are published.
        experiment, tracking, spool: where the lanes' MLflow runs are.
    """

    model_config = ConfigDict(frozen=True)

    task: Task
    backbone: BackboneIdentity
    preprocessing: dict[str, JsonValue]
    data: Data
    provenance: Provenance
    lanes: tuple[tuple[str, str], ...]
    outcomes: str
    bundles: str
    experiment: str
    tracking: str
    spool: str


def publish_task(order: PublishOrder, shared: SharedLM) -> Published:
    """Publish the task's best prompt by its metric on the validation split.

    Raises:
        FrozenWeightsChanged: the LM in memory is not the one of its fingerprint; nothing is published.
        TuningError: a lane has no outcome, or failed.
        StorageError: the bundle cannot be written.
    """
    shared.verify()
    outcomes = [_good_outcome(order, key, name) for key, name in order.lanes]
    best = max(outcomes, key=lambda outcome: outcome.figures["valid"][outcome.spec.metric])
    if best.lm_fingerprint != order.backbone.unit_lm:
        raise TuningError(f"{order.task.name}: tuned on another unit LM; run the job again")
    tensors = read_outcome_tensors(order.outcomes, best.key)
    manifest = _manifest(order, best, outcomes, keys=tensors["prompt.keys"], shared=shared)
    published = publish(order.bundles, Bundle(manifest, tensors))
    _tag_runs(order, published.uri)
    return published


def _good_outcome(order: PublishOrder, key: str, name: str) -> LaneOutcome:
    outcome = read_outcome(order.outcomes, key)
    if outcome is None:
        raise TuningError(f"{name}: its outcome is not stored in {order.outcomes}; run the job again")
    if outcome.error is not None:
        raise TuningError(outcome.error)
    return outcome


def _manifest(
    order: PublishOrder,
    best: LaneOutcome,
    outcomes: Sequence[LaneOutcome],
    *,
    keys: NDArray[np.float32],
    shared: SharedLM,
) -> BundleManifest:
    layers, length, dim = keys.shape
    mapped = best.mapped_units
    return BundleManifest(
        task=order.task,
        slots=tuple(Slot(name=slot.name, labels=slot.labels) for slot in best.spec.slots),
        metric=Metric(name=best.spec.metric),
        results=_results(best, outcomes),
        prompt=Prompt(
            length=length,
            layers=layers,
            dim=dim,
            vocabulary=read_outputs(shared.config, best.spec.recipe),
            verbalizer=best.spec.recipe.verbalizer,
            special_rows=best.special_rows,
            verbalizer_units=mapped and tuple(tuple(shared.unit_tokens[unit] for unit in slot) for slot in mapped),
        ),
        recipe=best.spec.recipe.model_dump(mode="json"),
        seed=best.spec.seed,
        backbone=order.backbone,
        preprocessing=order.preprocessing,
        data=order.data,
        provenance=order.provenance.model_copy(update={"run_id": best.run_id or ""}),
    )


def _results(best: LaneOutcome, outcomes: Sequence[LaneOutcome]) -> dict[Split, dict[str, Spread]]:
    def spread(split: Split, name: str) -> Spread:
        values = [outcome.figures[split][name] for outcome in outcomes]
        return Spread(
            value=best.figures[split][name],
            mean=statistics.fmean(values),
            std=statistics.stdev(values) if len(values) > 1 else 0.0,
            seeds=len(values),
        )

    splits: tuple[Split, ...] = ("valid", "test")
    return {
        split: {re.sub(r"[^a-z0-9._-]", "-", name.lower()): spread(split, name) for name in best.figures[split]}
        for split in splits
    }


def _tag_runs(order: PublishOrder, bundle: str) -> None:
    with Tracking(order.tracking, Path(order.spool)) as tracking:
        for key, name in order.lanes:
            tracking.run(order.experiment, name, key=key, tags={"bundle": bundle})
