"""The lanes of a task, and the digests that identify them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.recordings.examples import encode
from orchestrator.tuning.lanes import lane_orders
from orchestrator.tuning.resolved import ResolvedSettings
from task_specs.dataset import read_dataset
from task_specs.recipe import Recipe
from task_specs.schema import TaskSpec
from tests.fixtures.orders import gang_order
from tests.fixtures.tuning import tiny_backbone
from tests.task_specs.files import SOUND, delimited, task
from workers.backbone.directory import BackboneDescription, read_description, write_backbone
from workers.precision import ResolvedPrecision
from workers.tuning.orders import LaneOrder


@pytest.fixture
def spec(tmp_path: Path) -> TaskSpec:
    loaded = task(tmp_path, delimited(SOUND))
    return loaded.model_copy(update={"seeds": (0, 7), "family": "SCR", "language": "lt"})


@pytest.fixture
def backbone(tmp_path: Path) -> BackboneDescription:
    write_backbone(tiny_backbone(), str(tmp_path / "backbone"))
    return read_description(str(tmp_path / "backbone"))


def orders(
    spec: TaskSpec, backbone: BackboneDescription, *, place: str = "/a", precision: ResolvedPrecision = "fp32"
) -> list[LaneOrder]:
    dataset = read_dataset(spec)
    encoded = encode(spec, dataset, {})
    return lane_orders(spec, dataset, encoded, examples_uri=place, backbone=backbone, precision=precision)


def keys(*arguments: Any, **options: Any) -> list[str]:
    return [order.key for order in orders(*arguments, **options)]


def test_a_seed_is_a_lane(spec: TaskSpec, backbone: BackboneDescription) -> None:
    first, second = orders(spec, backbone)
    assert (first.run_name, second.run_name) == ("task s0", "task s7")
    assert (first.spec.seed, second.spec.seed) == (0, 7)
    assert first.spec.slots[0].labels == ("no", "yes")
    assert first.spec.examples == "/a"
    assert first.key != second.key


def test_a_lane_is_known_by_all_its_prompt_depends_on(
    tmp_path: Path, spec: TaskSpec, backbone: BackboneDescription
) -> None:
    known = keys(spec, backbone)
    other_units = [{**row, "units": "1 2"} for row in SOUND]
    (tmp_path / "other").mkdir()
    other_data = task(tmp_path / "other", delimited(other_units)).model_copy(update={"seeds": spec.seeds})
    relabelled = task(tmp_path / "other", delimited(SOUND).replace("yes", "zes"), name="relabelled.csv")
    write_backbone(tiny_backbone(seed=1), str(tmp_path / "backbone1"))
    others = [
        keys(spec.model_copy(update={"recipe": Recipe(learning_rate=0.1)}), backbone),
        keys(spec.model_copy(update={"metric": "macro_f1"}), backbone),
        keys(spec.model_copy(update={"name": "another"}), backbone),
        keys(spec, backbone, precision="bf16"),
        keys(spec, read_description(str(tmp_path / "backbone1"))),
        keys(other_data, backbone),
        keys(relabelled.model_copy(update={"seeds": spec.seeds}), backbone),
    ]
    everything = [*known, *(key for other in others for key in other)]
    assert len(set(everything)) == len(everything) == 2 * (1 + len(others))


@pytest.mark.parametrize("found", ["fp32", "bf16"])
def test_a_key_holds_what_auto_came_to(
    tmp_path: Path, spec: TaskSpec, backbone: BackboneDescription, found: ResolvedPrecision
) -> None:
    settings = ResolvedSettings(str(tmp_path / "job"), anew=False, say=print)
    precision = settings.precision("auto", lambda: found)
    made = orders(spec, backbone, precision=precision)
    assert [order.key for order in made] == keys(spec, backbone, precision=found)
    assert {order.params["precision"] for order in made} == {found}
    with pytest.raises(ValidationError, match="precision"):
        gang_order(made, "", precision="auto")


def test_where_things_lie_and_how_they_are_called_is_no_part_of_a_lane(
    spec: TaskSpec, backbone: BackboneDescription
) -> None:
    described = spec.model_copy(update={"description": "new", "language": "lv", "seeds": (7, 0)})
    renamed = backbone.model_copy(update={"name": "renamed", "licence": "CC0"})
    assert keys(spec, backbone) == keys(described, renamed, place="s3://bucket/examples")[::-1]


def test_the_columns_of_the_compare_view_are_stable(spec: TaskSpec, backbone: BackboneDescription) -> None:
    order = orders(spec, backbone)[1]
    assert order.params == {
        "task": "task",
        "family": "SCR",
        "language": "lt",
        "classes": "2",
        "slots": "label",
        "train_examples": "2",
        "quarantined": "0",
        "seed": "7",
        "metric": "accuracy",
        "positive": "",
        "shots": "all",
        "too_long": "0",
        "too_long_policy": "crop",
        "recipe": "default",
        "point": "",
        "prompt_length": "3",
        "reading": "pooled",
        "prompt_init": "normal",
        "verbalizer": "linear",
        "learning_rate": "0.005",
        "batch_size": "32",
        "max_steps": "2000",
        "dropout": "0.0",
        "balance": "none",
        "precision": "fp32",
        "workers": "1",
        "backbone": "tiny",
        "backbone_fingerprint": backbone.fingerprints.unit_lm[:12],
        "tokenizer_fingerprint": backbone.fingerprints.tokenizer[:12],
        "units_digest": order.spec.examples_digest[:12],
    }


def test_a_lane_that_draws_few_says_so(spec: TaskSpec, backbone: BackboneDescription) -> None:
    few = spec.model_copy(update={"shots": 1})
    dataset = read_dataset(few)
    encoded = encode(few, dataset, {})
    orders = lane_orders(few, dataset, encoded, examples_uri="/a", backbone=backbone, precision="fp32")
    assert {(order.params["shots"], order.params["train_examples"], order.spec.shots) for order in orders} == {
        ("1", "2", 1)
    }
    assert not {order.key for order in orders} & set(keys(spec, backbone))
