"""Jobs with sweeps: points and seeds become lanes, the worst are dropped, the best is published and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.outcomes import stored_outcomes
from tests.fixtures.tiny_job import write_units_task, write_yaml
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.bundle.read import read, verify
from workers.tuning.results.outcome import LaneOutcome

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

SWEEP = {"learning_rate": [1e-6, 0.05, 1e38], "prompt_length": [2, 5], "halving": {"eta": 3, "rungs": 1}}


class Workplace:
    """A job of one task with a sweep."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *arguments: str, job: str = "job") -> Finished:
        return speechprompt("run", str(self.root / f"{job}.yaml"), *arguments)

    def row(self, job: str = "job") -> dict[str, Any]:
        done = speechprompt("results", str(self.root / f"{job}.yaml"), "--json")
        [row] = json.loads(done.stdout)["tasks"]
        return dict(row)

    def outcomes(self, job: str = "job") -> list[LaneOutcome]:
        return stored_outcomes(self.root / "runs" / job / "lanes")

    def lanes(self, job: str = "job") -> dict[str, Run]:
        client = MlflowClient(f"sqlite:///{self.root}/mlflow.db")
        experiment = client.get_experiment_by_name(job)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        return {str(run.info.run_name): run for run in runs if "speechprompt.kind" not in run.data.tags}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    root = tmp_path_factory.mktemp("sweep")
    write_backbone(tiny_backbone(), str(root / "backbone"))
    write_units_task(root / "tasks", "swept", {"label": 3}, seeds=2, sweep=SWEEP)
    write_yaml(root / "job.yaml", {"backbone": "backbone", "tasks": "tasks/swept.yaml", "precision": "fp32"})
    return Workplace(root)


@pytest.fixture(scope="module")
def first(workplace: Workplace) -> Finished:
    done = workplace.run()
    assert done.code == 0, done.stderr
    return done


@pytest.mark.usefixtures("first")
def test_every_point_has_its_lanes_and_the_worst_are_dropped(workplace: Workplace) -> None:
    """Of 6 points 2 go on at step 20 of 60; points with the rate that diverges are the last."""
    outcomes = workplace.outcomes()
    assert len(outcomes) == 12
    stopped = {point: {o.stopped for o in outcomes if o.point == point} for point in {o.point for o in outcomes}}
    assert sorted(point for point, how in stopped.items() if how == {"diverged"}) == ["lr1e+38 l2", "lr1e+38 l5"]
    assert [list(stopped.values()).count({how}) for how in ("steps", "dropped")] == [2, 2]
    assert {o.steps for o in outcomes if o.stopped == "dropped"} == {20}


def test_the_best_point_is_published_with_the_spread_over_its_seeds(workplace: Workplace, first: Finished) -> None:
    row, outcomes = workplace.row(), workplace.outcomes()
    chosen = [outcome for outcome in outcomes if outcome.point == row["point"]]
    assert (row["status"], row["points"], row["seeds"], len(chosen)) == ("published", 6, 2, 2)
    assert {outcome.stopped for outcome in chosen} == {"steps"}
    bundle = verify(row["bundle"])
    manifest = bundle.manifest
    spread = manifest.results["valid"]["accuracy"]
    figures = [outcome.figures["valid"]["accuracy"] for outcome in chosen]
    assert spread.mean == pytest.approx(sum(figures) / 2)
    assert (spread.seeds, spread.value) == (2, max(figures))
    sweep = manifest.recipe["sweep"]
    assert isinstance(sweep, dict)
    assert (sweep["chosen"], sweep["seeds"]) == (row["point"], 2)
    assert isinstance(sweep["valid"], dict)
    assert len(sweep["valid"]) == 6
    finished = {outcome.point for outcome in outcomes if outcome.stopped == "steps"}
    assert {name for name, value in sweep["valid"].items() if value is not None} == finished
    assert row["point"] == f"lr{manifest.recipe['learning_rate']:g} l{manifest.prompt.length}"
    assert f"{row['point']} among 6 settings" in (Path(bundle.uri) / "README.md").read_text(encoding="utf-8")
    assert f"({row['point']}, the best of 6)" in first.stdout


@pytest.mark.usefixtures("first")
def test_mlflow_names_the_points(workplace: Workplace) -> None:
    lanes = workplace.lanes()
    assert len(lanes) == 12
    run = lanes["swept lr0.05 l2 s1"]
    assert {name: run.data.params[name] for name in ("point", "learning_rate", "prompt_length", "seed")} == {
        "point": "lr0.05 l2",
        "learning_rate": "0.05",
        "prompt_length": "2",
        "seed": "1",
    }
    assert [run.data.tags["stopped"] for run in lanes.values()].count("dropped") == 4
    assert lanes["swept lr1e+38 l5 s0"].info.status == "FAILED"


@pytest.mark.usefixtures("first")
def test_a_sweep_that_was_published_is_not_tuned_again(workplace: Workplace) -> None:
    """Not even when what failed is to be retried: points that diverged are part of the answer."""
    before = {path: path.stat().st_mtime_ns for path in workplace.root.glob("runs/job/lanes/*/*")}
    done = workplace.run("--retry-failed")
    assert done.code == 0
    assert "every lane finished before" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in workplace.root.glob("runs/job/lanes/*/*")} == before


@pytest.mark.usefixtures("first")
def test_prompts_begin_with_units_or_with_the_bundle_of_another_task(workplace: Workplace) -> None:
    length = verify(workplace.row()["bundle"]).manifest.prompt.length
    write_units_task(
        workplace.root / "tasks",
        "follower",
        {"label": 3},
        data_seed=5,
        recipe={"prompt_length": length, "learning_rate": 1e-9, "steps": 3, "evaluate_every": 3},
        sweep={"prompt_init": ["normal", "units", {"bundle": "../bundles/swept"}]},
    )
    job = {"backbone": "backbone", "tasks": "tasks/follower.yaml", "precision": "fp32", "gang": 3}
    write_yaml(workplace.root / "next.yaml", job)
    done = workplace.run(job="next")
    assert done.code == 0, done.stderr
    row = workplace.row("next")
    # At this rate nothing is learnt: only the bundle, whose labels are the same, tells the classes apart.
    donor = verify(workplace.row()["bundle"])
    assert row["point"] == f"from-swept-{donor.version[:6]}"
    assert row["test"] > row["majority"] + 0.1
    follower = read(row["bundle"])
    assert follower.manifest.recipe["prompt_init"] == {"bundle": donor.version}
    given = read(donor.uri)
    for name, tensor in given.tensors.items():
        assert abs(follower.tensors[name] - tensor).max() < 1e-6, name
