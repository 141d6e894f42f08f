"""From the outcomes of a task's lanes to its published bundle."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from infra import object_storage
from infra.errors import TuningError
from infra.tracking import Tracking
from task_specs.example import Split
from workers.backbone.sharing import SharedLM
from workers.bundle.first_publication import as_first_made
from workers.bundle.format import Bundle
from workers.bundle.manifest import BundleManifest, Spread
from workers.bundle.mend import publish_or_mend
from workers.bundle.publish import Published
from workers.prompting.prompt import prompt_shape
from workers.tuning.orders import run_key
from workers.tuning.results.class_scores import scores_together
from workers.tuning.results.final_metrics import FinalMetrics, final_metrics
from workers.tuning.results.outcome import (
    LaneOutcome,
    best_lane,
    best_point,
    by_point,
    has_whole_point,
    mean_valid,
    read_outcome,
    read_outcome_tensors,
)
from workers.tuning.results.task_manifest import TaskSections, Tuned, sweep_section, task_manifest


class PublishOrder(BaseModel):
    """All that publishing a task needs besides the LM.

    Attributes:
        sections: of its manifest.
        together: whether the prompts of all seeds are published as an ensemble, and not the best one alone.
        lanes: key and run name of each lane of the task.
        outcomes: where their outcomes are.
        bundles: where bundles are published.
        experiment: of the lanes' MLflow runs.
        generation: attempt with which the job last began anew.
    """

    model_config = ConfigDict(frozen=True)

    sections: TaskSections
    together: bool = False
    lanes: tuple[tuple[str, str], ...]
    outcomes: str
    bundles: str
    experiment: str
    generation: int = 1


def publish_task(order: PublishOrder, shared: SharedLM, tracking: Tracking) -> Published:
    """Publish the task's best prompt by its metric on the validation split: the best seed of the best point, or all of
    its seeds.

    Args:
        order: what to publish.
        shared: the LM that its lanes were tuned on.
        tracking: where the lanes' runs get the bundle's place.

    Raises:
        FrozenWeightsChanged: the LM in memory is not the one of its fingerprint; nothing is published.
        TuningError: a lane has no outcome, or no scores that an ensemble needs, or no point of the sweep went well with
            every seed.
        BundleError: tuning gave what a bundle cannot hold.
        StorageError: the bundle cannot be written.
    """
    shared.verify()
    outcomes = [_outcome(order, key, name) for key, name in order.lanes]
    if {shared.fingerprint, *(outcome.lm_fingerprint for outcome in outcomes)} != {order.sections.backbone.unit_lm}:
        raise TuningError(f"{order.sections.task.name}: tuned on another unit LM; run the job again")
    point = best_point(outcomes)
    best = best_lane(point)
    chosen = _Chosen(best, FinalMetrics(best.figures, best.temperatures, best.intervals))
    tensors = read_outcome_tensors(order.outcomes, best)
    if order.together:
        scores = scores_together(order.outcomes, point)
        chosen = _Chosen(best, final_metrics(best.spec, scores.splits, scores.speakers), point)
        members = [read_outcome_tensors(order.outcomes, lane) for lane in point]
        tensors = {name: np.stack([member[name] for member in members]) for name in tensors}
    manifest = _manifest(order, chosen, outcomes, shared=shared)
    bundle = as_first_made(
        Bundle(manifest, tensors, order.sections.licence), object_storage.join(order.outcomes, best.key)
    )
    published = publish_or_mend(order.bundles, bundle)
    _tag_runs(order, published.uri, tracking)
    return published


@dataclass(frozen=True)
class _Chosen:
    """What is published: the prompt of ``lane``, or those of all ``members``; and its metrics."""

    lane: LaneOutcome
    final: FinalMetrics
    members: Sequence[LaneOutcome] = ()


def _outcome(order: PublishOrder, key: str, name: str) -> LaneOutcome:
    outcome = read_outcome(order.outcomes, key)
    if outcome is None:
        raise TuningError(f"{name}: its outcome is not stored in {order.outcomes}; run the job again")
    return outcome


def _manifest(
    order: PublishOrder, chosen: _Chosen, outcomes: Sequence[LaneOutcome], *, shared: SharedLM
) -> BundleManifest:
    best, points = chosen.lane, by_point(outcomes)
    units: tuple[tuple[int, ...], ...] | None = None
    if best.mapped_units:
        units = tuple(tuple(shared.unit_tokens[unit] for unit in slot) for slot in best.mapped_units)
    tried = {name: _number(mean_valid(lanes)) if has_whole_point(lanes) else None for name, lanes in points.items()}
    recipe = best.spec.recipe
    tuned = Tuned(
        shape=prompt_shape(shared.config, recipe, [len(slot.labels) for slot in best.spec.slots]),
        results=_results(chosen.final, best_point(outcomes)),
        temperatures=chosen.final.temperatures,
        verbalizer_units=units,
        sweep=sweep_section(best.point, len(points[best.point]), tried),
        members=tuple(lane.spec.seed for lane in chosen.members),
        run_id=best.run_id or "",
    )
    return task_manifest(order.sections, best.spec, tuned)


def _results(final: FinalMetrics, outcomes: Sequence[LaneOutcome]) -> dict[Split, dict[str, Spread]]:
    """Metrics of what is published beside those of all seeds of its point; one that is undefined on a split, for a seed
    at least, is left out."""

    def spread(split: Split, name: str) -> Spread:
        values = [outcome.figures[split][name] for outcome in outcomes]
        return Spread(
            value=final.metrics[split][name],
            mean=statistics.fmean(values),
            std=statistics.stdev(values) if len(values) > 1 else 0.0,
            seeds=len(values),
            interval=final.intervals.get(name) if split == "test" else None,
        )

    splits: tuple[Split, ...] = ("valid", "test")
    return {
        split: {
            name: spread(split, name)
            for name in final.metrics[split]
            if all(math.isfinite(outcome.figures[split][name]) for outcome in outcomes)
        }
        for split in splits
    }


def _number(value: float) -> float | None:
    """The value, where it is one."""
    return value if math.isfinite(value) else None


def _tag_runs(order: PublishOrder, bundle: str, tracking: Tracking) -> None:
    """The bundle's place, on the run of every lane that the choice was made from."""
    for key, name in order.lanes:
        tracking.run(order.experiment, name, key=run_key(key, order.generation), tags={"bundle": bundle})
