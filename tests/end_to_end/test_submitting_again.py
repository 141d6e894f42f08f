"""A job that has ended, submitted again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors import FrozenWeightsChanged
from infra.tracking import Tracking
from tests.fixtures.command_line import speechprompt
from tests.fixtures.deadly import DEADLY_TASK
from tests.fixtures.local_job import BASELINES, ToyJob, examples_file, snapshot
from tests.fixtures.outcomes import stored_outcomes
from tests.fixtures.tiny_job import write_yaml
from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.read import find, verify
from workers.tuning.results.publish_task import PublishOrder, publish_task
from workers.tuning.results.task_manifest import TaskSections

pytestmark = pytest.mark.usefixtures("ray_cluster")


def publish_order(toy_job: ToyJob, task: str, bundles: Path) -> PublishOrder:
    """The order by which a task of the job was published, for another place."""
    lanes = toy_job.root / "runs" / "toy" / "lanes"
    outcomes = stored_outcomes(lanes)
    manifest = find(str(toy_job.root / "bundles" / task)).manifest
    assert manifest.inference is not None
    assert manifest.inference.sample_rate is not None
    return PublishOrder(
        sections=TaskSections(
            task=manifest.task,
            backbone=manifest.backbone,
            audio=manifest.inference.audio,
            sample_rate=manifest.inference.sample_rate,
            data=manifest.data,
            provenance=manifest.provenance,
        ),
        lanes=tuple((found.key, found.spec.name) for found in outcomes if found.spec.task == task),
        outcomes=str(lanes),
        bundles=str(bundles),
        experiment="published-again",
    )


@pytest.mark.usefixtures("first_run")
def test_nothing_is_published_from_weights_that_changed(toy_job: ToyJob, tmp_path: Path) -> None:
    shared = SharedLM.of(read_backbone(str(toy_job.root / "backbone")))
    changed = {name: tensor.copy() for name, tensor in shared.tensors.items()}
    next(iter(changed.values())).flat[0] += 1e-6
    order = publish_order(toy_job, "orders", tmp_path / "bundles")
    tracking = Tracking(f"sqlite:///{toy_job.root}/mlflow.db", tmp_path / "spool")
    with tracking, pytest.raises(FrozenWeightsChanged):
        publish_task(order, replace(shared, tensors=changed), tracking)
    assert not (tmp_path / "bundles").exists()


@pytest.mark.usefixtures("first_run")
def test_a_second_run_tunes_nothing_and_changes_nothing(toy_job: ToyJob) -> None:
    made = [toy_job.root / place for place in ("bundles", "runs/toy/lanes", "runs/toy/baselines", "units")]
    before, rows, lanes = snapshot(*made), toy_job.rows(), toy_job.lanes()
    done = toy_job.run()
    assert done.code == 1
    assert snapshot(*made) == before
    assert toy_job.rows() == rows
    # As text, in which a figure that is not a number equals itself.
    again = {name: json.dumps(run.to_dictionary()) for name, run in toy_job.lanes().items()}
    before_that = {name: json.dumps(run.to_dictionary()) for name, run in lanes.items()}
    # Of a lane that was lost the driver says once more that it is.
    assert again.keys() == before_that.keys()
    assert {name for name in again if again[name] != before_that[name]} <= {f"{DEADLY_TASK} s0"}
    assert len(toy_job.submissions()) == 2
    assert len(toy_job.baselines()) == 5 * len(BASELINES)
    assert "0 computed" in done.stderr


@pytest.mark.usefixtures("first_run")
def test_what_failed_is_tried_again_when_asked(toy_job: ToyJob) -> None:
    before = snapshot(toy_job.root / "bundles")
    examples_file(toy_job, "damaged").unlink()
    assert toy_job.run().code == 1
    assert toy_job.rows()["damaged"]["status"] == "failed"
    assert toy_job.run("--retry-failed").code == 1
    rows = toy_job.rows()
    assert {name for name, row in rows.items() if row["status"] == "published"} == {
        "damaged",
        DEADLY_TASK,
        "orders",
        "tones",
    }
    assert rows["damaged"]["error"] is None
    assert {kind: figures["error"] for kind, figures in rows["damaged"]["baselines"].items()} == dict.fromkeys(
        BASELINES
    )
    verify(rows["damaged"]["bundle"])
    after = snapshot(toy_job.root / "bundles")
    assert {path: after[path] for path in before} == before
    for name in ("damaged s0", f"{DEADLY_TASK} s0"):
        run = toy_job.lanes()[name]
        assert (run.info.status, run.data.tags["error"]) == ("FINISHED", "")


@pytest.mark.usefixtures("first_run")
def test_a_damaged_backbone_is_bad_input(toy_job: ToyJob, tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    for file in (toy_job.root / "backbone").iterdir():
        (tmp_path / "backbone" / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "backbone" / "lm.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    job = write_yaml(tmp_path / "job.yaml", {"backbone": "backbone", "tasks": str(toy_job.root / "tasks/orders.yaml")})
    done = speechprompt("run", str(job))
    assert done.code == 2
    assert "not the file that backbone.json describes; it was altered" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
