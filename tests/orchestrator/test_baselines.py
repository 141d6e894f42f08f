"""What a baseline's stored result is found by."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import object_storage
from orchestrator.baselines import Baselines
from orchestrator.cluster.session import ActorSize
from orchestrator.job import load_job
from orchestrator.progress import ProgressView
from orchestrator.report import job_root
from task_specs.recipe import Recipe
from tests.fixtures.tuning import lane_spec, tiny_backbone
from workers.backbone.directory import BackboneDescription, read_description, write_backbone
from workers.baselines.order import FeatureKeys
from workers.baselines.result import BaselineResult, write_result
from workers.tuning.orders import LaneOrder


def lane(**changes: object) -> LaneOrder:
    spec = lane_spec().model_copy(update={"examples": "here", "examples_digest": "d1", **changes})
    return LaneOrder(key="lane", spec=spec, run_name="toy s0", params={"task": "toy", "seed": "0", "language": "lt"})


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> list[BackboneDescription]:
    """Two LMs."""
    roots = [str(tmp_path_factory.mktemp(f"backbone{seed}")) + "/b" for seed in range(2)]
    for seed, root in enumerate(roots):
        write_backbone(tiny_backbone(seed), root)
    return [read_description(root) for root in roots]


def baselines(
    directory: Path,
    backbone: BackboneDescription,
    *,
    retry_failed: bool = False,
    kinds: str = "[majority, ngrams, probe]",
) -> Baselines:
    file = directory / "job.yaml"
    file.write_text(f"backbone: b\ntasks: t.yaml\nbaselines: {kinds}\n", encoding="utf-8")
    return Baselines(
        load_job(str(file)), backbone, precision="fp32", size=ActorSize(1, 0, 1), submission="first",
        spool=str(directory / "spool"), retry_failed=retry_failed, view=ProgressView(),
    )  # fmt: skip


FEATURES = FeatureKeys(root="units", tokenizer="f" * 64, splits={"train": ("a", "b"), "valid": ("c",), "test": ("d",)})


def keys(directory: Path, backbone: BackboneDescription, order: LaneOrder) -> dict[str, str]:
    return {found.kind: found.key for found in baselines(directory, backbone).orders(order)}


def test_results_belong_to_data_and_metric_and_the_probe_to_the_lm(
    tmp_path: Path, backbones: list[BackboneDescription]
) -> None:
    one, other = backbones
    known = keys(tmp_path, one, lane())
    assert len(set(known.values())) == 3
    assert keys(tmp_path, one, lane(examples="elsewhere", recipe=Recipe(steps=7))) == known
    for changes in ({"examples_digest": "d2"}, {"metric": "macro_f1"}, {"seed": 1}):
        assert not set(known.values()) & set(keys(tmp_path, one, lane(**changes)).values())
    with_other = keys(tmp_path, other, lane())
    assert [kind for kind in known if with_other[kind] != known[kind]] == ["probe"]


def test_features_are_part_of_what_needs_them_and_their_place_is_not(
    tmp_path: Path, backbones: list[BackboneDescription]
) -> None:
    work = baselines(tmp_path, backbones[0], kinds="[ngrams, encoder]")

    def found(features: FeatureKeys | None) -> tuple[str, str]:
        ngrams, encoder = work.orders(lane(), features)
        assert (ngrams.features, encoder.features) == (None, features)
        return ngrams.key, encoder.key

    known = found(FEATURES)
    assert found(FEATURES.model_copy(update={"root": "elsewhere"})) == known
    others = [None, FEATURES.model_copy(update={"tokenizer": "e" * 64}), FEATURES.model_copy(update={"splits": {}})]
    assert len({known[1], *(found(other)[1] for other in others)}) == 4
    assert {found(other)[0] for other in others} == {known[0]}


def test_runs_have_the_columns_of_lanes_that_are_theirs_too(
    tmp_path: Path, backbones: list[BackboneDescription]
) -> None:
    order = baselines(tmp_path, backbones[0]).orders(lane())[1]
    assert order.params == {"task": "toy", "language": "lt", "recipe": "baseline ngrams"}
    assert (order.run_name, order.parent_key) == ("toy ngrams", "first")


def test_what_is_stored_is_not_computed_again(tmp_path: Path, backbones: list[BackboneDescription]) -> None:
    """Without Ray, so that computing anything would fail."""
    work = baselines(tmp_path, backbones[0])
    root = object_storage.join(job_root(load_job(str(tmp_path / "job.yaml"))), "baselines")
    found = {order.kind: order.key for order in work.orders(lane())}
    results = [
        BaselineResult(key=found["probe"], kind="probe", figures={"test": {"accuracy": 0.5}}),
        BaselineResult(key=found["ngrams"], kind="ngrams", error="no room"),
    ]
    for result in results:
        write_result(root, result)
    write_result(root, BaselineResult(key=found["majority"], kind="majority"))
    work.start(lane(), None)  # type: ignore[arg-type]
    collected = work.collect()["toy"]
    assert list(collected) == ["majority", "ngrams", "probe"]
    assert [collected["probe"], collected["ngrams"]] == results
