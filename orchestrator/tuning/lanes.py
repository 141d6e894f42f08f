"""The lanes of a task: every point of its sweep with every seed, each with the digest that identifies it."""

from __future__ import annotations

import hashlib
from typing import Any

from infra.digest import canonical_json
from orchestrator.recordings.examples import EncodedTask
from task_specs.dataset import Dataset
from task_specs.prompt_init import shown_init
from task_specs.schema import TaskSpec
from task_specs.sweep import Point
from workers.backbone.directory import BackboneDescription
from workers.precision import ResolvedPrecision
from workers.tuning.lane_spec import LaneSpec, SlotSpec
from workers.tuning.orders import LaneOrder


def lane_spec(
    spec: TaskSpec, dataset: Dataset, point: Point, *, seed: int, examples: str = "", digest: str = ""
) -> LaneSpec:
    """The lane that tries a point with a seed.

    Args:
        spec: of the task.
        dataset: its examples.
        point: of its sweep.
        seed: one of its seeds.
        examples: URI of the encoded examples; empty while there are none.
        digest: theirs.
    """
    return LaneSpec(
        task=spec.name,
        slots=tuple(SlotSpec(name=name, labels=of) for name, of in zip(dataset.slots, dataset.labels, strict=True)),
        metric=spec.metric,
        positive=spec.positive,
        bootstrap=spec.bootstrap,
        shots=spec.shots,
        seed=seed,
        recipe=point.recipe,
        examples=examples,
        examples_digest=digest,
    )


def lane_orders(
    spec: TaskSpec,
    dataset: Dataset,
    encoded: EncodedTask,
    *,
    examples_uri: str,
    backbone: BackboneDescription,
    precision: ResolvedPrecision,
) -> list[LaneOrder]:
    """One order per point and seed, the seeds of a point together."""
    digest = encoded.examples.digest()
    halving = spec.sweep.halving if spec.sweep is not None else None
    lanes = [
        (
            point,
            lane_spec(spec, dataset, point, seed=seed, examples=examples_uri, digest=digest),
        )
        for point in spec.points
        for seed in spec.seeds
    ]
    # What becomes of a lane under halving depends on those it is compared with.
    cohort = None if halving is None else [halving.model_dump(), [_identity(lane) for _, lane in lanes]]
    return [
        LaneOrder(
            key=_key(lane, backbone, precision, cohort, spec.workers),
            spec=lane,
            run_name=" ".join(part for part in (spec.name, point.name, f"s{lane.seed}") if part),
            params=_params(spec, dataset, point, lane, backbone, precision, encoded),
            point=point.name,
            halving=halving,
            workers=spec.workers,
        )
        for point, lane in lanes
    ]


def _identity(lane: LaneSpec) -> dict[str, Any]:
    """What a lane is; where its examples and its bundle lie is not part of it."""
    return {**lane.model_dump(mode="json", exclude={"examples"}), "recipe": lane.recipe.identity()}


def _key(
    lane: LaneSpec, backbone: BackboneDescription, precision: ResolvedPrecision, cohort: list[Any] | None, workers: int
) -> str:
    """Digest of everything the outcome depends on."""
    content: dict[str, Any] = {
        "lane": _identity(lane),
        "backbone": backbone.fingerprints.model_dump(),
        "precision": precision,
    }
    if cohort is not None:
        content["cohort"] = cohort
    if workers > 1:
        content["workers"] = workers
    return hashlib.sha256(canonical_json(content)).hexdigest()[:32]


def _params(
    spec: TaskSpec,
    dataset: Dataset,
    point: Point,
    lane: LaneSpec,
    backbone: BackboneDescription,
    precision: ResolvedPrecision,
    encoded: EncodedTask,
) -> dict[str, str]:
    """The columns of MLflow's compare view, which opens on the first three that differ: classes, family, language."""
    recipe = lane.recipe
    values = {
        "task": spec.name,
        "family": spec.family,
        "language": spec.language,
        "classes": "x".join(str(len(labels)) for labels in dataset.labels),
        "slots": ",".join(dataset.slots),
        "train_examples": encoded.train_examples(spec.shots),
        "shots": "all" if spec.shots is None else spec.shots,
        "quarantined": encoded.quarantined,
        "too_long": encoded.long,
        "too_long_policy": spec.audio.too_long,
        "seed": lane.seed,
        "metric": lane.metric,
        "positive": lane.positive or "",
        "recipe": recipe.name,
        "point": point.name,
        "prompt_length": recipe.prompt_length,
        "reading": recipe.reading,
        "prompt_init": shown_init(recipe.prompt_init),
        "verbalizer": recipe.verbalizer,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "max_steps": recipe.steps,
        "dropout": recipe.dropout,
        "balance": recipe.balance,
        "precision": precision,
        "workers": spec.workers,
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprints.unit_lm[:12],
        "tokenizer_fingerprint": backbone.fingerprints.tokenizer[:12],
        "units_digest": lane.examples_digest[:12],
    }
    return {name: str(value) for name, value in values.items()}
