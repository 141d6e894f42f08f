"""A whole job on the Ray of the session: from recordings to bundles, failures kept apart."""

from __future__ import annotations

import json
import os
import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.deadly import DEADLY_TASK
from tests.fixtures.local_job import BASELINES, LONG, FirstRun, ToyJob, bundles
from tests.fixtures.tiny_job import CLIPS, RECIPE
from tests.fixtures.tuning import UNITS
from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.read import find
from workers.evaluation.comparison import VERDICTS

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_a_backbone_is_pretrained_from_recordings_and_units(toy_job: ToyJob, toy_backbone: Finished) -> None:
    assert toy_backbone.code == 0, toy_backbone.stderr
    assert "Traceback" not in toy_backbone.stderr
    said = re.fullmatch(
        rf"{toy_job.root}/backbone: validation perplexity ([0-9.]+) per unit, best at step ([0-9]+) of 40\n",
        toy_backbone.stdout,
    )
    assert said
    assert 1 < float(said[1]) < UNITS
    shown = json.loads(speechprompt("backbone", "inspect", str(toy_job.root / "backbone"), "--json").stdout)
    made = read_backbone(str(toy_job.root / "backbone"))
    assert (shown["units"], shown["vocabulary"], shown["name"]) == (UNITS, 4 + UNITS, "tiny")
    assert shown["lm_fingerprint"] == made.lm_fingerprint
    assert shown["parameters"] == sum(tensor.size for tensor in made.lm_tensors.values())
    [run] = toy_job.runs("tiny-pretraining")
    assert run.info.status == "FINISHED"
    steps, values = zip(*toy_job.history(run, "pretraining/valid_perplexity"), strict=True)
    assert steps == (20, 40)
    best = int(np.argmin(values))
    assert (steps[best], values[best]) == (int(said[2]), pytest.approx(float(said[1]), abs=0.01))
    again = speechprompt("backbone", "pretrain", str(toy_job.root / "backbone.yaml"))
    assert again.code == 2
    assert "choose another place" in again.stderr


def test_tasks_that_fail_do_not_stop_the_others(toy_job: ToyJob, first_run: FirstRun) -> None:
    assert first_run.done.code == 1, first_run.done.stderr
    assert "Traceback" not in first_run.done.stderr
    rows = toy_job.rows()
    assert {name: row["status"] for name, row in rows.items()} == {
        "damaged": "failed",
        "diverges": "failed",
        DEADLY_TASK: "failed",
        "orders": "published",
        "silent": "failed",
        "strict": "failed",
        "tones": "published",
    }
    assert re.fullmatch(
        r"\S+\.safetensors: not the examples of damaged; run the job with --retry-failed, which mends it",
        rows["damaged"]["error"],
    )
    assert re.fullmatch(
        r"diverges/seed0: the loss was not finite at step \d+; lower recipe.learning_rate, which is 1e\+38",
        rows["diverges"]["error"],
    )
    assert "none of the 1 clips of split valid can be used" in rows["silent"]["error"]
    assert re.fullmatch(
        r"\S+/broken\.wav: unreadable: .+; or set audio\.unreadable to quarantine", rows["strict"]["error"]
    )
    assert rows[DEADLY_TASK]["error"].startswith("its worker process died (")
    assert "its tasks go on each alone: " in first_run.done.stderr
    for name, row in rows.items():
        assert name in first_run.done.stdout
        assert (row["bundle"] is None) == (row["error"] is not None) == (row["status"] == "failed")


def test_whoever_looks_sees_what_runs_where_and_what_became_of_it(toy_job: ToyJob, first_run: FirstRun) -> None:
    seen, rows = first_run.operator.seen, toy_job.rows()
    assert [stage for stage, _ in groupby(status.driver.stage for status in seen)][:2] == ["tokenizing", "tuning"]
    at_work = {(gang.pid, lane.lane) for status in seen for gang in status.gangs for lane in gang.lanes if lane.step}
    assert {lane for _, lane in at_work} == {"diverges s0", f"{DEADLY_TASK} s0", "orders s0", "orders s1", "tones s0"}
    assert os.getpid() not in {pid for pid, _ in at_work}
    assert any(gang.checkpoint for status in seen for gang in status.gangs)
    done = speechprompt("status", str(toy_job.root / "job.yaml"), "--json")
    assert (done.code, done.stderr) == (0, "")
    last = json.loads(done.stdout)
    assert (last["driver"]["stage"], last["driver"]["outcome"]) == ("ended", "2 of 7 tasks published")
    assert last["driver"]["failures"] == {name: row["error"] for name, row in rows.items() if row["error"]}
    assert {lane["lane"]: (lane["state"], lane["error"]) for gang in last["gangs"] for lane in gang["lanes"]} == {
        "orders s0": ("ended", None),
        "orders s1": ("ended", None),
        "tones s0": ("ended", None),
        **{f"{name} s0": ("failed", rows[name]["error"]) for name in ("damaged", "diverges", DEADLY_TASK)},
    }
    shown = speechprompt("status", str(toy_job.root / "job.yaml")).stdout
    assert re.search(r"^toy: ended .+ ago: 2 of 7 tasks published; ", shown, re.M)
    assert f"silent: {rows['silent']['error']}" in " ".join(shown.split())
    gauges = first_run.operator.gauges
    assert {f"speechprompt_{name}" for name in ("lanes", "lane_step", "lane_valid_metric", "frozen_lm_bytes")} <= set(
        gauges
    )
    tags, size = gauges["speechprompt_frozen_lm_bytes"]
    assert 'job="toy"' in tags
    backbone = read_backbone(str(toy_job.root / "backbone"))
    assert size == sum(tensor.nbytes for tensor in backbone.lm_tensors.values())


def test_what_can_be_learnt_is_learnt_and_reported(toy_job: ToyJob, first_run: FirstRun) -> None:
    rows = toy_job.rows()
    tones, orders = rows["tones"], rows["orders"]
    assert tones["test"] > tones["majority"] + 0.2
    assert orders["test"] > orders["majority"] + 0.2
    assert tones["examples"] == {split: 2 * count for split, count in CLIPS.items()}
    assert (tones["quarantined"], orders["quarantined"], rows["silent"]["quarantined"]) == (1, 0, 0)
    assert (tones["classes"], orders["classes"], orders["seeds"]) == ("2", "3x2", 2)
    assert (tones["family"], tones["language"], tones["metric"]) == ("SCR", "lt", "accuracy")
    assert orders["steps"] == 2 * LONG["steps"]
    assert f"{100 * tones['test']:.1f}" in first_run.done.stdout
    assert str(tones["bundle"]) in first_run.done.stdout
    assert "quarantined" in first_run.done.stderr
    assert "short.wav" in first_run.done.stderr


@pytest.mark.usefixtures("first_run")
def test_bundles_hold_the_figures_of_the_report(toy_job: ToyJob) -> None:
    rows, backbone = toy_job.rows(), read_backbone(str(toy_job.root / "backbone"))
    found = bundles(toy_job.root / "bundles")
    assert {name: bundle.uri for name, bundle in found.items()} == {
        name: row["bundle"] for name, row in rows.items() if row["bundle"]
    }
    for name, bundle in found.items():
        manifest, row = bundle.manifest, rows[name]
        assert manifest.results["test"]["accuracy"].mean == pytest.approx(row["test"])
        assert manifest.results["test"]["accuracy"].std == pytest.approx(row["test_std"])
        assert manifest.results["valid"]["accuracy"].mean == pytest.approx(row["valid"])
        assert manifest.backbone.unit_lm == backbone.lm_fingerprint
        assert manifest.backbone.tokenizer == backbone.tokenizer_fingerprint
        assert manifest.parameters == row["trained"]
        assert manifest.data.examples == row["examples"]
        assert manifest.data.quarantined == row["quarantined"]
        assert manifest.provenance.backbone_uri == str(toy_job.root / "backbone")
        assert manifest.provenance.run_id in {run.info.run_id for run in toy_job.runs()}
        listed = speechprompt("bundle", "verify", bundle.uri)
        assert listed.code == 0
    assert [slot.labels for slot in found["orders"].manifest.slots] == [
        ("action-0", "action-1", "action-2"),
        ("object-0", "object-1"),
    ]
    best = found["orders"].manifest.results["valid"]["accuracy"]
    assert best.value >= best.mean


@pytest.mark.usefixtures("first_run")
def test_mlflow_has_the_submission_and_its_lanes(toy_job: ToyJob) -> None:
    [parent], lanes = toy_job.submissions(), toy_job.lanes()
    assert parent.info.status == "FAILED"
    assert parent.data.params["tasks"] == "7"
    assert parent.data.metrics["tasks_published"] == 2
    assert {name: run.info.status for name, run in lanes.items()} == {
        "damaged s0": "FAILED",
        "diverges s0": "FAILED",
        f"{DEADLY_TASK} s0": "FAILED",
        "orders s0": "FINISHED",
        "orders s1": "FINISHED",
        "tones s0": "FINISHED",
    }
    assert {run.data.tags["mlflow.parentRunId"] for run in lanes.values()} == {parent.info.run_id}
    assert "learning_rate" in lanes["diverges s0"].data.tags["error"]
    rows, client = toy_job.rows(), toy_job.mlflow()
    for task in ("damaged", DEADLY_TASK):
        assert lanes[f"{task} s0"].data.tags["error"] == rows[task]["error"]
    failed = {name: (run.info.status, run.data.tags["error"]) for name, run in toy_job.failed_tasks().items()}
    assert failed == {name: ("FAILED", rows[name]["error"]) for name in ("silent", "strict")}
    for name, run in lanes.items():
        # Of one that could not begin nobody knows how many numbers it would have trained.
        unknown = {"trainable_parameters"} if name == "damaged s0" else set()
        assert set(run.data.params) == set(lanes["tones s0"].data.params) - unknown
        assert name.split()[0] == run.data.params["task"]
        assert unknown or run.data.params["trainable_parameters"].isdigit()
    for name in ("orders s0", "orders s1", "tones s0"):
        run = lanes[name]
        row = rows[run.data.params["task"]]
        assert run.data.tags["bundle"] == row["bundle"]
        assert run.data.tags["stopped"] == "steps"
        assert run.data.params["trainable_parameters"] == str(row["trained"])
        steps = LONG if name.startswith("orders") else RECIPE
        evaluated = list(range(steps["evaluate_every"], steps["steps"] + 1, steps["evaluate_every"]))
        assert [step for step, _ in toy_job.history(run, "tuning/valid_accuracy")] == evaluated
        losses = [loss for _, loss in toy_job.history(run, "tuning/train_loss")]
        assert losses[-1] < losses[0]
        assert {f"{split}/{figure}" for split in ("valid", "test") for figure in ("accuracy", "macro_f1", "loss")} <= (
            run.data.metrics.keys()
        )
        slots = ["slot1", "slot2"] if name.startswith("orders") else ["slot1"]
        files = {file.path for part in ("figures", "tables") for file in client.list_artifacts(run.info.run_id, part)}
        assert files == {
            path
            for slot in slots
            for name in (f"confusion_{slot}", f"unit_use_{slot}")
            for path in (f"figures/{name}.png", f"tables/{name}.json")
        }
        for slot in slots:
            local = client.download_artifacts(run.info.run_id, f"tables/confusion_{slot}.json")
            table = json.loads(Path(local).read_text(encoding="utf-8"))
            count = table["columns"].index("count")
            assert sum(line[count] for line in table["data"]) == row["examples"]["test"]
            picture = client.download_artifacts(run.info.run_id, f"figures/confusion_{slot}.png")
            assert Path(picture).read_bytes().startswith(b"\x89PNG")
    mean = np.mean([lanes[f"orders s{seed}"].data.metrics["test/accuracy"] for seed in range(2)])
    assert mean == pytest.approx(rows["orders"]["test"])


def test_baselines_are_computed_beside_the_tuning_and_stop_nothing(toy_job: ToyJob, first_run: FirstRun) -> None:
    rows, runs, [parent] = toy_job.rows(), toy_job.baselines(), toy_job.submissions()
    assert {name: list(row["baselines"]) for name, row in rows.items()} == {
        name: [] if name in ("silent", "strict") else BASELINES for name in rows
    }
    for name in ("tones", "orders", "diverges"):
        figures = rows[name]["baselines"]
        assert figures["majority"]["test"] == pytest.approx(rows[name]["majority"])
        assert figures["ngrams"]["test"] > figures["majority"]["test"] + 0.2
        assert figures["probe"]["test"] > figures["majority"]["test"]
        for kind in BASELINES:
            run = runs[f"{name} {kind}"]
            assert (run.info.status, run.data.tags["mlflow.parentRunId"]) == ("FINISHED", parent.info.run_id)
            assert run.data.metrics["test/accuracy"] == pytest.approx(figures[kind]["test"])
            assert (run.data.params["task"], run.data.params["recipe"]) == (name, f"baseline {kind}")
            assert set(run.data.params) < set(toy_job.lanes()["tones s0"].data.params)
            assert run.data.params["trainable_parameters"] == str(figures[kind]["trained"])
    for kind in BASELINES:
        assert "not the examples of damaged" in rows["damaged"]["baselines"][kind]["error"]
        assert runs[f"damaged {kind}"].info.status == "FAILED"
    assert "damaged, baseline ngrams: " in first_run.done.stderr
    judged = {name: row["verdict"] for name, row in rows.items() if row["verdict"] is not None}
    assert judged.keys() == {name for name, row in rows.items() if row["status"] == "published"}
    for name in ("tones", "orders"):
        figures, found = rows[name]["baselines"], judged[name]
        assert found["verdict"] in VERDICTS
        assert figures[found["baseline"]]["valid"] == max(part["valid"] for part in figures.values())
        difference = rows[name]["test"] - figures[found["baseline"]]["test"]
        assert found["comparison"]["difference"] == pytest.approx(difference)


@pytest.mark.usefixtures("first_run")
def test_the_page_shows_confusions_and_units_of_the_chosen_lanes(toy_job: ToyJob) -> None:
    rows = toy_job.rows()
    assert (len(rows["orders"]["lanes"]), len(rows["tones"]["lanes"])) == (2, 1)
    agreement = rows["orders"]["unit_agreement"]
    assert list(agreement) == ["action", "object"]
    assert all(part["seeds"] == 2 and -1 <= part["spearman"] <= 1 for part in agreement.values())
    assert rows["tones"]["unit_agreement"] == {}
    done = speechprompt("results", str(toy_job.root / "job.yaml"), "--format", "html")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.count('<svg class="matrix"') == done.stdout.count("<img") == 3
    assert done.stdout.count('<svg class="utterance"') == 3 + 2 + 2
    right = f"{100 * rows['tones']['test']:.1f}"
    assert right in done.stdout


@pytest.mark.usefixtures("first_run")
def test_classify_gives_the_figures_of_the_report(toy_job: ToyJob) -> None:
    row = toy_job.rows()["tones"]
    audio = sorted((toy_job.root / "tasks" / "audio").glob("test-*.wav"))
    done = speechprompt("classify", "--bundle", str(toy_job.root / "bundles/tones"), "--json", *map(str, audio))
    assert (done.code, done.stderr) == (0, "")
    answers = [json.loads(line)["labels"]["tones"]["label"][0]["label"] for line in done.stdout.splitlines()]
    right = [answer == path.name.split("-")[1] for answer, path in zip(answers, audio, strict=True)]
    assert np.mean(right) == pytest.approx(find(row["bundle"]).manifest.results["test"]["accuracy"].value)


def test_the_frozen_weights_are_bit_equal_after_the_job(toy_job: ToyJob, first_run: FirstRun) -> None:
    import ray

    after: SharedLM = ray.get(first_run.shared)
    stored = read_backbone(str(toy_job.root / "backbone"))
    assert after.tensors.keys() == stored.lm_tensors.keys()
    for name, tensor in stored.lm_tensors.items():
        assert after.tensors[name].tobytes() == tensor.tobytes(), name
    after.verify()
