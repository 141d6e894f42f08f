"""Whole jobs on the Ray of the session: from recordings to bundles, failures kept apart, kills survived."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

import orchestrator.driver
import orchestrator.schedule
from infra.errors import FrozenWeightsChanged
from infra.tracking import Tracking
from orchestrator.encoding import encode
from task_specs.dataset import read_dataset
from task_specs.schema import load_task_spec
from tests.fixtures.command_line import Finished, speechprompt
from tests.fixtures.deadly import DEADLY_TASK, DeadlyTrainable
from tests.fixtures.operator import Operator
from tests.fixtures.tiny_job import CLIPS, RECIPE, write_tones, write_units_task, write_yaml
from tests.fixtures.tuning import UNITS, toy_examples
from workers.backbone.directory import read_backbone
from workers.backbone.sharing import SharedLM
from workers.bundle.read import FoundBundle, find, read, verify
from workers.prompting.outcome import LaneOutcome
from workers.publishing import PublishOrder, publish_task

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

BASELINES = ["majority", "ngrams", "probe"]
LONG = {"steps": 300, "evaluate_every": 10}
"""Of task ``orders``, so that there is time to kill its tuning."""


@dataclass(frozen=True)
class Workplace:
    """Where the job and all it makes lies."""

    root: Path

    def run(self, *arguments: str) -> Finished:
        return speechprompt("run", str(self.root / "job.yaml"), *arguments)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The report by task, as programs get it."""
        done = speechprompt("results", str(self.root / "job.yaml"), "--json")
        assert (done.code, done.stderr) == (0, "")
        report = json.loads(done.stdout)
        assert (report["job"], report["backbone"]) == ("toy", "tiny")
        return {row["task"]: row for row in report["tasks"]}

    def mlflow(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.root}/mlflow.db")

    def runs(self, experiment: str = "toy") -> list[Run]:
        """All runs of an experiment, oldest first."""
        client = self.mlflow()
        found = client.get_experiment_by_name(experiment)
        assert found is not None
        return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))

    def lanes(self) -> dict[str, Run]:
        """Runs of lanes by name."""
        named = {str(run.info.run_name): run for run in self.runs() if "speechprompt.kind" not in run.data.tags}
        others = (self.submissions(), self.baselines(), self.failed_tasks())
        assert len(named) == len(self.runs()) - sum(map(len, others))
        return named

    def failed_tasks(self) -> dict[str, Run]:
        """Runs of tasks that never had lanes, by name."""
        found = [run for run in self.runs() if run.data.tags.get("speechprompt.kind") == "failed task"]
        return {str(run.info.run_name): run for run in found}

    def baselines(self) -> dict[str, Run]:
        """Runs of baselines by name."""
        found = [run for run in self.runs() if run.data.tags.get("speechprompt.kind") == "baseline"]
        return {str(run.info.run_name): run for run in found}

    def submissions(self) -> list[Run]:
        return [run for run in self.runs() if run.data.tags.get("speechprompt.kind") == "submission"]

    def history(self, run: Run, metric: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in self.mlflow().get_metric_history(run.info.run_id, metric)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Tasks of every fate, a backbone to pretrain, and a job."""
    root = tmp_path_factory.mktemp("job")
    tasks = root / "tasks"
    write_tones(tasks)
    write_units_task(tasks, "orders", {"action": 3, "object": 2}, seeds=2, recipe=LONG, family="IC")
    write_units_task(tasks, "diverges", {"label": 2}, recipe={"learning_rate": 1e38})
    write_units_task(tasks, "damaged", {"label": 2}, data_seed=1)
    write_units_task(tasks, DEADLY_TASK, {"label": 2}, data_seed=3)
    silent = "path,label,split\n" + "".join(
        f"{'audio/short.wav' if split == 'valid' else f'audio/{split}-{label}-0.wav'},{label},{split}\n"
        for split, label in [("train", "low"), ("train", "high"), ("valid", "low"), ("test", "low")]
    )
    (tasks / "silent.csv").write_text(silent)
    write_yaml(tasks / "silent.yaml", {"name": "silent", "data": {"path": "silent.csv"}})
    pretraining = {
        "name": "tiny",
        "out": "backbone",
        "tasks": ["tasks/tones.yaml", "tasks/orders.yaml"],
        "tokenizer": {"kind": "mfcc", "units": UNITS},
        "unit_lm": {"layers": 2, "dim": 16, "heads": 2, "ffn_dim": 24},
        "training": {"steps": 40, "batch_tokens": 128, "warmup_steps": 5, "evaluate_every": 20, "learning_rate": 0.01},
    }
    write_yaml(root / "backbone.yaml", pretraining)
    job = {"name": "toy", "backbone": "backbone", "tasks": "tasks/*.yaml", "baselines": BASELINES}
    write_yaml(root / "job.yaml", job)
    return Workplace(root)


@pytest.fixture(scope="module")
def pretrained(workplace: Workplace) -> Finished:
    """Its backbone."""
    return speechprompt("backbone", "pretrain", str(workplace.root / "backbone.yaml"))


def examples_file(workplace: Workplace, task: str) -> Path:
    """Where the driver will store the encoded examples of a task on units."""
    spec, _ = load_task_spec(str(workplace.root / "tasks" / f"{task}.yaml"))
    assert spec is not None
    digest = encode(spec, read_dataset(spec), {}).examples.digest()
    return workplace.root / "runs" / "toy" / "examples" / f"{digest}.safetensors"


@dataclass(frozen=True)
class FirstRun:
    """The first run of the job, the LM that all its actors shared, and who looked on."""

    done: Finished
    shared: Any
    operator: Operator


@pytest.fixture(scope="module")
def first(workplace: Workplace, pretrained: Finished) -> FirstRun:
    """The job, with the stored examples of task ``damaged`` replaced by others."""
    assert pretrained.code == 0, pretrained.stderr
    file = examples_file(workplace, "damaged")
    file.parent.mkdir(parents=True)
    file.write_bytes(toy_examples([2], seed=2).to_bytes())
    shared = []
    share = orchestrator.driver._shared_lm

    def shared_lm(backbone: str) -> Any:
        shared.append(share(backbone))
        return shared[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orchestrator.driver, "_shared_lm", shared_lm)
        patch.setattr(orchestrator.schedule, "GangTrainable", DeadlyTrainable)
        with Operator(workplace.root / "job.yaml") as operator:
            done = workplace.run()
    return FirstRun(done, shared[0], operator)


def test_a_backbone_is_pretrained_from_recordings_and_units(workplace: Workplace, pretrained: Finished) -> None:
    assert pretrained.code == 0, pretrained.stderr
    assert "Traceback" not in pretrained.stderr
    said = re.fullmatch(
        rf"{workplace.root}/backbone: validation perplexity ([0-9.]+) per unit, best at step ([0-9]+) of 40\n",
        pretrained.stdout,
    )
    assert said
    assert 1 < float(said[1]) < UNITS
    shown = json.loads(speechprompt("backbone", "inspect", str(workplace.root / "backbone"), "--json").stdout)
    made = read_backbone(str(workplace.root / "backbone"))
    assert (shown["units"], shown["vocabulary"], shown["name"]) == (UNITS, 4 + UNITS, "tiny")
    assert shown["lm_fingerprint"] == made.lm_fingerprint
    assert shown["parameters"] == sum(tensor.size for tensor in made.lm_tensors.values())
    [run] = workplace.runs("tiny-pretraining")
    assert run.info.status == "FINISHED"
    steps, values = zip(*workplace.history(run, "pretraining/valid_perplexity"), strict=True)
    assert steps == (20, 40)
    best = int(np.argmin(values))
    assert (steps[best], values[best]) == (int(said[2]), pytest.approx(float(said[1]), abs=0.01))
    again = speechprompt("backbone", "pretrain", str(workplace.root / "backbone.yaml"))
    assert again.code == 2
    assert "choose another place" in again.stderr


def test_tasks_that_fail_do_not_stop_the_others(workplace: Workplace, first: FirstRun) -> None:
    assert first.done.code == 1, first.done.stderr
    assert "Traceback" not in first.done.stderr
    rows = workplace.rows()
    assert {name: row["status"] for name, row in rows.items()} == {
        "damaged": "failed",
        "diverges": "failed",
        DEADLY_TASK: "failed",
        "orders": "published",
        "silent": "failed",
        "tones": "published",
    }
    assert re.fullmatch(
        r"\S+\.safetensors: not the examples of damaged; delete the file and run the job again",
        rows["damaged"]["error"],
    )
    assert re.fullmatch(
        r"diverges/seed0: the loss was not finite at step \d+; lower recipe.learning_rate, which is 1e\+38",
        rows["diverges"]["error"],
    )
    assert "none of the 1 clips of split valid can be used" in rows["silent"]["error"]
    assert rows[DEADLY_TASK]["error"].startswith("its worker process died (")
    assert "its tasks go on each alone: " in first.done.stderr
    for name, row in rows.items():
        assert name in first.done.stdout
        assert (row["bundle"] is None) == (row["error"] is not None) == (row["status"] == "failed")


def test_whoever_looks_sees_what_runs_where_and_what_became_of_it(workplace: Workplace, first: FirstRun) -> None:
    seen, rows = first.operator.seen, workplace.rows()
    assert [stage for stage, _ in groupby(status.driver.stage for status in seen)][:2] == ["tokenizing", "tuning"]
    at_work = {(gang.pid, lane.lane) for status in seen for gang in status.gangs for lane in gang.lanes if lane.step}
    assert {lane for _, lane in at_work} == {"diverges s0", f"{DEADLY_TASK} s0", "orders s0", "orders s1", "tones s0"}
    assert os.getpid() not in {pid for pid, _ in at_work}
    assert any(gang.checkpoint for status in seen for gang in status.gangs)
    done = speechprompt("status", str(workplace.root / "job.yaml"), "--json")
    assert (done.code, done.stderr) == (0, "")
    last = json.loads(done.stdout)
    assert (last["driver"]["stage"], last["driver"]["outcome"]) == ("ended", "2 of 6 tasks published")
    assert last["driver"]["failures"] == {name: row["error"] for name, row in rows.items() if row["error"]}
    assert {lane["lane"]: (lane["state"], lane["error"]) for gang in last["gangs"] for lane in gang["lanes"]} == {
        "orders s0": ("ended", None),
        "orders s1": ("ended", None),
        "tones s0": ("ended", None),
        **{f"{name} s0": ("failed", rows[name]["error"]) for name in ("damaged", "diverges", DEADLY_TASK)},
    }
    shown = speechprompt("status", str(workplace.root / "job.yaml")).stdout
    assert "toy: ended: 2 of 6 tasks published" in shown
    assert f"silent: {rows['silent']['error']}" in " ".join(shown.split())
    gauges = first.operator.gauges
    assert {f"speechprompt_{name}" for name in ("lanes", "lane_step", "lane_valid_metric", "frozen_lm_bytes")} <= set(
        gauges
    )
    tags, size = gauges["speechprompt_frozen_lm_bytes"]
    assert 'job="toy"' in tags
    backbone = read_backbone(str(workplace.root / "backbone"))
    assert size == sum(tensor.nbytes for tensor in backbone.lm_tensors.values())


def test_what_can_be_learnt_is_learnt_and_reported(workplace: Workplace, first: FirstRun) -> None:
    rows = workplace.rows()
    tones, orders = rows["tones"], rows["orders"]
    assert tones["test"] > tones["majority"] + 0.2
    assert orders["test"] > orders["majority"] + 0.2
    assert tones["examples"] == {split: 2 * count for split, count in CLIPS.items()}
    assert (tones["quarantined"], orders["quarantined"], rows["silent"]["quarantined"]) == (1, 0, 0)
    assert (tones["classes"], orders["classes"], orders["seeds"]) == ("2", "3x2", 2)
    assert (tones["family"], tones["language"], tones["metric"]) == ("SCR", "lt", "accuracy")
    assert orders["steps"] == 2 * LONG["steps"]
    assert f"{100 * tones['test']:.1f}" in first.done.stdout
    assert str(tones["bundle"]) in first.done.stdout
    assert "quarantined" in first.done.stderr
    assert "short.wav" in first.done.stderr


def bundles(root: Path) -> dict[str, FoundBundle]:
    """The latest bundle of each task, every byte verified."""
    return {path.name: verify(str(path)) for path in sorted(root.iterdir())}


@pytest.mark.usefixtures("first")
def test_bundles_hold_the_figures_of_the_report(workplace: Workplace) -> None:
    rows, backbone = workplace.rows(), read_backbone(str(workplace.root / "backbone"))
    found = bundles(workplace.root / "bundles")
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
        assert manifest.provenance.backbone_uri == str(workplace.root / "backbone")
        assert manifest.provenance.run_id in {run.info.run_id for run in workplace.runs()}
        listed = speechprompt("bundle", "verify", bundle.uri)
        assert listed.code == 0
    assert [slot.labels for slot in found["orders"].manifest.slots] == [
        ("action-0", "action-1", "action-2"),
        ("object-0", "object-1"),
    ]
    best = found["orders"].manifest.results["valid"]["accuracy"]
    assert best.value >= best.mean


@pytest.mark.usefixtures("first")
def test_mlflow_has_the_submission_and_its_lanes(workplace: Workplace) -> None:
    [parent], lanes = workplace.submissions(), workplace.lanes()
    assert parent.info.status == "FAILED"
    assert parent.data.params["tasks"] == "6"
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
    rows, client = workplace.rows(), workplace.mlflow()
    for task in ("damaged", DEADLY_TASK):
        assert lanes[f"{task} s0"].data.tags["error"] == rows[task]["error"]
    [(name, run)] = workplace.failed_tasks().items()
    assert (name, run.info.status, run.data.tags["error"]) == ("silent", "FAILED", rows["silent"]["error"])
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
        assert [step for step, _ in workplace.history(run, "tuning/valid_accuracy")] == evaluated
        losses = [loss for _, loss in workplace.history(run, "tuning/train_loss")]
        assert losses[-1] < losses[0]
        assert {f"{split}/{figure}" for split in ("valid", "test") for figure in ("accuracy", "macro_f1", "loss")} <= (
            run.data.metrics.keys()
        )
        slots = ["action", "object"] if name.startswith("orders") else ["label"]
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


def test_baselines_are_computed_beside_the_tuning_and_stop_nothing(workplace: Workplace, first: FirstRun) -> None:
    rows, runs, [parent] = workplace.rows(), workplace.baselines(), workplace.submissions()
    assert {name: list(row["baselines"]) for name, row in rows.items()} == {
        name: [] if name == "silent" else BASELINES for name in rows
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
            assert set(run.data.params) < set(workplace.lanes()["tones s0"].data.params)
            assert run.data.params["trainable_parameters"] == str(figures[kind]["trained"])
    for kind in BASELINES:
        assert "not the examples of damaged" in rows["damaged"]["baselines"][kind]["error"]
        assert runs[f"damaged {kind}"].info.status == "FAILED"
    assert "damaged, baseline ngrams: " in first.done.stderr


@pytest.mark.usefixtures("first")
def test_the_page_shows_confusions_and_units_of_the_chosen_lanes(workplace: Workplace) -> None:
    rows = workplace.rows()
    assert (len(rows["orders"]["lanes"]), len(rows["tones"]["lanes"])) == (2, 1)
    agreement = rows["orders"]["unit_agreement"]
    assert list(agreement) == ["action", "object"]
    assert all(part["seeds"] == 2 and -1 <= part["spearman"] <= 1 for part in agreement.values())
    assert rows["tones"]["unit_agreement"] == {}
    done = speechprompt("results", str(workplace.root / "job.yaml"), "--format", "html")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.count("<svg") == done.stdout.count("<img") == 3
    right = f"{100 * rows['tones']['test']:.1f}"
    assert right in done.stdout


@pytest.mark.usefixtures("first")
def test_classify_gives_the_figures_of_the_report(workplace: Workplace) -> None:
    row = workplace.rows()["tones"]
    audio = sorted((workplace.root / "tasks" / "audio").glob("test-*.wav"))
    done = speechprompt("classify", "--bundle", str(workplace.root / "bundles/tones"), "--json", *map(str, audio))
    assert (done.code, done.stderr) == (0, "")
    answers = [json.loads(line)["labels"]["tones"]["label"][0]["label"] for line in done.stdout.splitlines()]
    right = [answer == path.name.split("-")[1] for answer, path in zip(answers, audio, strict=True)]
    assert np.mean(right) == pytest.approx(find(row["bundle"]).manifest.results["test"]["accuracy"].value)


def test_the_frozen_weights_are_bit_equal_after_the_job(workplace: Workplace, first: FirstRun) -> None:
    import ray

    after: SharedLM = ray.get(first.shared)
    stored = read_backbone(str(workplace.root / "backbone"))
    assert after.tensors.keys() == stored.lm_tensors.keys()
    for name, tensor in stored.lm_tensors.items():
        assert after.tensors[name].tobytes() == tensor.tobytes(), name
    after.verify()


def publish_order(workplace: Workplace, task: str, bundles: Path) -> PublishOrder:
    """The order by which a task of the job was published, for another place."""
    lanes = workplace.root / "runs" / "toy" / "lanes"
    outcomes = [LaneOutcome.model_validate_json(path.read_bytes()) for path in lanes.glob("*/lane.json")]
    manifest = find(str(workplace.root / "bundles" / task)).manifest
    return PublishOrder(
        task=manifest.task,
        backbone=manifest.backbone,
        preprocessing=manifest.preprocessing,
        data=manifest.data,
        provenance=manifest.provenance,
        lanes=tuple((found.key, found.spec.name) for found in outcomes if found.spec.task == task),
        outcomes=str(lanes),
        bundles=str(bundles),
        experiment="published-again",
    )


@pytest.mark.usefixtures("first")
def test_nothing_is_published_from_weights_that_changed(workplace: Workplace, tmp_path: Path) -> None:
    shared = SharedLM.of(read_backbone(str(workplace.root / "backbone")))
    changed = {name: tensor.copy() for name, tensor in shared.tensors.items()}
    next(iter(changed.values())).flat[0] += 1e-6
    order = publish_order(workplace, "orders", tmp_path / "bundles")
    tracking = Tracking(f"sqlite:///{workplace.root}/mlflow.db", tmp_path / "spool")
    with tracking, pytest.raises(FrozenWeightsChanged):
        publish_task(order, replace(shared, tensors=changed), tracking)
    assert not (tmp_path / "bundles").exists()


def snapshot(*roots: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of every file."""
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.usefixtures("first")
def test_a_second_run_tunes_nothing_and_changes_nothing(workplace: Workplace) -> None:
    made = [workplace.root / place for place in ("bundles", "runs/toy/lanes", "runs/toy/baselines", "units")]
    before, rows, lanes = snapshot(*made), workplace.rows(), workplace.lanes()
    done = workplace.run()
    assert done.code == 1
    assert snapshot(*made) == before
    assert workplace.rows() == rows
    # As text, in which a figure that is not a number equals itself.
    again = {name: json.dumps(run.to_dictionary()) for name, run in workplace.lanes().items()}
    before_that = {name: json.dumps(run.to_dictionary()) for name, run in lanes.items()}
    # Of a lane that was lost the driver says once more that it is.
    assert again.keys() == before_that.keys()
    assert {name for name in again if again[name] != before_that[name]} <= {f"{DEADLY_TASK} s0"}
    assert len(workplace.submissions()) == 2
    assert len(workplace.baselines()) == 5 * len(BASELINES)
    assert "0 computed" in done.stderr


@pytest.mark.usefixtures("first")
def test_what_failed_is_tried_again_when_asked(workplace: Workplace) -> None:
    before = snapshot(workplace.root / "bundles")
    examples_file(workplace, "damaged").unlink()
    assert workplace.run().code == 1
    assert workplace.rows()["damaged"]["status"] == "failed"
    assert workplace.run("--retry-failed").code == 1
    rows = workplace.rows()
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
    after = snapshot(workplace.root / "bundles")
    assert {path: after[path] for path in before} == before
    for name in ("damaged s0", f"{DEADLY_TASK} s0"):
        run = workplace.lanes()[name]
        assert (run.info.status, run.data.tags["error"]) == ("FINISHED", "")


def checkpoints(runs: Path) -> list[Path]:
    """Stored checkpoints of task ``orders`` that are whole, oldest first."""
    return sorted(file.parent for file in runs.glob("tune-*/*orders*/checkpoint_*/queue.json"))


def kept_steps(runs: Path) -> int:
    """Optimizer steps of all lanes of task ``orders`` in their newest checkpoint."""
    kept = json.loads((checkpoints(runs)[-1] / "lanes.json").read_text(encoding="utf-8"))
    return sum(lane["progress"]["step"] for lane in kept.values())


def end_by(number: signal.Signals, job: Path, checkpoint: int) -> tuple[int, str]:
    """Run a job and send it a signal as soon as it has written a checkpoint of this number or a later one.

    Returns:
        Its exit code, and what it said.
    """
    import ray

    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", str(job)],
        env={**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            found = checkpoints(job.parent / "runs" / job.stem)
            if found and int(found[-1].name.split("_")[1]) >= checkpoint:
                break
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, said.decode()


@pytest.mark.usefixtures("first")
def test_a_killed_job_goes_on_and_gives_the_bundles_of_one_that_was_not(workplace: Workplace, tmp_path: Path) -> None:
    tasks = [str(workplace.root / "tasks" / f"{name}.yaml") for name in ("orders", "tones")]
    backbone = str(workplace.root / "backbone")
    job = write_yaml(
        tmp_path / "killed.yaml", {"backbone": backbone, "tasks": tasks, "resources": {"workers": 1}, "gang": 2}
    )
    runs = tmp_path / "runs" / "killed"
    code, said = end_by(signal.SIGTERM, job, 3)
    assert (code, said.splitlines()[-1]) == (3, "interrupted; submit the job again and it goes on")
    assert "Traceback" not in said
    assert [run.info.status for run in Workplace(tmp_path).runs("killed") if "speechprompt.kind" in run.data.tags][
        :1
    ] == ["KILLED"]
    saved = kept_steps(runs)
    # Before Tune can have noted a checkpoint of its own.
    code, said = end_by(signal.SIGKILL, job, int(checkpoints(runs)[-1].name.split("_")[1]) + 1)
    assert code == -signal.SIGKILL, said
    assert not (tmp_path / "bundles").exists()
    steps = kept_steps(runs)
    assert 0 < saved < steps < 2 * LONG["steps"]

    done = speechprompt("run", str(job))
    assert done.code == 0, done.stderr
    begun = re.search(r"tuning: (\d+)/\d+", done.stderr)
    assert begun
    # The first evaluation after the restart follows the checkpoint, and not the beginning.
    assert int(begun[1]) > steps
    # In the same gangs, since other neighbours mean other rounding.
    (tmp_path / "straight").mkdir()
    straight = write_yaml(tmp_path / "straight" / "killed.yaml", yaml.safe_load(job.read_text(encoding="utf-8")))
    assert speechprompt("run", str(straight)).code == 0
    expected = bundles(tmp_path / "straight" / "bundles")
    again = bundles(tmp_path / "bundles")
    assert {name: bundle.version for name, bundle in again.items()} == {
        name: bundle.version for name, bundle in expected.items()
    }
    for name, bundle in again.items():
        tensors = read(bundle.uri).tensors
        for tensor_name, tensor in read(expected[name].uri).tensors.items():
            assert tensors[tensor_name].tobytes() == tensor.tobytes()
    Path(again["tones"].uri, "prompt.safetensors").write_bytes(b"damaged")
    third = speechprompt("run", str(job))
    assert third.code == 0
    assert "resume: 3 of 3 lanes ended before" in third.stderr
    assert "every lane has finished before" in third.stderr
    assert f"tones: {again['tones'].uri} was damaged (prompt.safetensors) and is published again" in third.stderr
    assert {name: bundle.version for name, bundle in bundles(tmp_path / "bundles").items()} == {
        name: bundle.version for name, bundle in expected.items()
    }
    restarted = speechprompt("run", str(job), "--restart", "--set", f"tasks={tasks[1]}")
    assert restarted.code == 0, restarted.stderr
    assert "restart: every lane begins anew (attempt 2); published bundles stay" in restarted.stderr
    for bundle in again.values():
        verify(bundle.uri)
    named = [
        run.info.run_name for run in Workplace(tmp_path).runs("killed") if "speechprompt.kind" not in run.data.tags
    ]
    assert sorted(named) == ["orders s0", "orders s1", "tones s0", "tones s0"]


@pytest.mark.usefixtures("first")
def test_a_damaged_backbone_is_bad_input(workplace: Workplace, tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    for file in (workplace.root / "backbone").iterdir():
        (tmp_path / "backbone" / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "backbone" / "lm.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    job = write_yaml(
        tmp_path / "job.yaml", {"backbone": "backbone", "tasks": str(workplace.root / "tasks/orders.yaml")}
    )
    done = speechprompt("run", str(job))
    assert done.code == 2
    assert "not the file that backbone.json describes; it was altered" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
