"""The lanes of a task: its seeds, each with the digest that identifies it."""

from __future__ import annotations

import hashlib

from orchestrator.encoding import EncodedTask
from task_specs.dataset import Dataset
from task_specs.schema import TaskSpec
from workers.actor import LaneOrder
from workers.backbone.directory import BackboneDescription
from workers.backbone.fingerprint import canonical_json
from workers.precision import Precision
from workers.prompting.lane import LaneSpec, SlotSpec


def lane_orders(
    spec: TaskSpec,
    dataset: Dataset,
    encoded: EncodedTask,
    *,
    examples_uri: str,
    backbone: BackboneDescription,
    precision: Precision,
) -> list[LaneOrder]:
    """One order per seed."""
    digest = encoded.examples.digest()
    slots = tuple(
        SlotSpec(name=name, labels=labels) for name, labels in zip(dataset.slots, dataset.labels, strict=True)
    )
    orders = []
    for seed in spec.seeds:
        lane = LaneSpec(
            task=spec.name,
            slots=slots,
            metric=spec.metric,
            seed=seed,
            recipe=spec.recipe,
            examples=examples_uri,
            examples_digest=digest,
        )
        orders.append(
            LaneOrder(
                key=_key(lane, backbone, precision),
                spec=lane,
                run_name=f"{spec.name} s{seed}",
                params=_params(spec, dataset, lane, backbone, precision, encoded),
            )
        )
    return orders


def _key(lane: LaneSpec, backbone: BackboneDescription, precision: Precision) -> str:
    """Digest of everything the prompt depends on; where the examples lie is not part of it."""
    content = {
        "lane": lane.model_dump(mode="json", exclude={"examples"}),
        "backbone": backbone.fingerprints.model_dump(),
        "precision": precision,
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()[:32]


def _params(
    spec: TaskSpec,
    dataset: Dataset,
    lane: LaneSpec,
    backbone: BackboneDescription,
    precision: Precision,
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
        "train_examples": len(encoded.examples.splits["train"]),
        "quarantined": encoded.quarantined,
        "seed": lane.seed,
        "metric": lane.metric,
        "recipe": recipe.name,
        "prompt_length": recipe.prompt_length,
        "verbalizer": recipe.verbalizer,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "max_steps": recipe.steps,
        "dropout": recipe.dropout,
        "precision": precision,
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprints.unit_lm[:12],
        "tokenizer_fingerprint": backbone.fingerprints.tokenizer[:12],
        "units_digest": lane.examples_digest[:12],
    }
    return {name: str(value) for name, value in values.items()}
