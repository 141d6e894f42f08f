"""Jobs with sweeps: points and seeds become lanes, the worst are dropped, the best is published and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.tiny_job import write_units_task, write_yaml
from tests.fixtures.varied_job import Ran, RanAgain
from workers.bundle.read import read, verify

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_every_point_has_its_lanes_and_the_worst_are_dropped(varied: Ran) -> None:
    """Of 6 points 2 go on at step 20 of 60; points with the rate that diverges are the last."""
    outcomes = varied.job.outcomes("swept")
    assert len(outcomes) == 12
    stopped = {point: {o.stopped for o in outcomes if o.point == point} for point in {o.point for o in outcomes}}
    assert sorted(point for point, how in stopped.items() if how == {"diverged"}) == ["lr1e+38 l2", "lr1e+38 l5"]
    assert [list(stopped.values()).count({how}) for how in ("steps", "dropped")] == [2, 2]
    assert {o.steps for o in outcomes if o.stopped == "dropped"} == {20}


def test_the_best_point_is_published_with_the_spread_over_its_seeds(varied: Ran) -> None:
    row, outcomes = varied.job.row("swept"), varied.job.outcomes("swept")
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
    assert f"({row['point']}, the best of 6)" in varied.done.stdout


def test_mlflow_names_the_points(varied: Ran) -> None:
    lanes = varied.job.lanes("swept")
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


def test_a_sweep_that_was_published_is_not_tuned_again(varied: Ran, varied_again: RanAgain) -> None:
    """Not even when what failed is to be retried: points that diverged are part of the answer."""
    assert varied_again.after == varied_again.before
    assert varied.job.row("swept")["status"] == "published"


def test_prompts_begin_with_units_or_with_the_bundle_of_another_task(varied: Ran) -> None:
    length = verify(varied.job.row("swept")["bundle"]).manifest.prompt.length
    write_units_task(
        varied.job.root / "followers",
        "follower",
        {"label": 3},
        data_seed=5,
        recipe={"prompt_length": length, "learning_rate": 1e-9, "steps": 3, "evaluate_every": 3},
        sweep={"prompt_init": ["normal", "units", {"bundle": "../bundles/swept"}]},
    )
    job = {
        "backbone": "backbone",
        "tasks": "followers/follower.yaml",
        "precision": "fp32",
        "gang": 3,
        "resources": {"workers": 1},
        "baselines": "majority",
    }
    write_yaml(varied.job.root / "next.yaml", job)
    done = varied.job.run(job="next")
    assert done.code == 0, done.stderr
    row = varied.job.row("follower", "next")
    # At this rate nothing is learnt: only the bundle, whose labels are the same, tells the classes apart.
    donor = verify(varied.job.row("swept")["bundle"])
    assert row["point"] == f"from-swept-{donor.version[:6]}"
    assert row["test"] > row["majority"] + 0.1
    follower = read(row["bundle"])
    assert follower.manifest.recipe["prompt_init"] == {"bundle": donor.version}
    given = read(donor.uri)
    for name, tensor in given.tensors.items():
        assert abs(follower.tensors[name] - tensor).max() < 1e-6, name
