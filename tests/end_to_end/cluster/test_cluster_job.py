"""Jobs on a cluster: Ray Jobs, with everything in a real S3 server and runs on a real MLflow server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient

import orchestrator
from infra import object_storage
from infra.local_cluster.cluster import BUCKET, Cluster
from orchestrator.job_files import spool_directory
from tests.fixtures.command_line import speechprompt
from tests.fixtures.mfcc import fit_mfcc_tokenizer
from tests.fixtures.tiny_job import CLIPS, write_tones, write_units_task, write_yaml
from tests.fixtures.tones import babble, tone, write_audio
from tests.fixtures.tuning import TINY, UNIT_TOKENS, UNITS, tiny_lm
from workers.backbone.directory import Backbone, write_backbone
from workers.bundle.read import verify

HERE = Path(orchestrator.__file__).parents[1]
STORE = f"s3://{BUCKET}"
PLACES = {
    "backbone": f"{STORE}/backbone",
    "bundles": f"{STORE}/bundles",
    "storage": f"{STORE}/runs",
    "units": f"{STORE}/units",
}


@pytest.fixture(scope="module")
def environment(cluster: Cluster) -> Iterator[None]:
    """With which this process and those it starts find the cluster."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in cluster.env.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(HERE))
        yield


@dataclass(frozen=True)
class Submitter:
    """Someone with a job file, away from the code.

    Attributes:
        directory: the working directory; ``job.yaml`` in it names a task here and one in S3.
        mlflow: address of the MLflow server.
        shown: what commands have printed.
    """

    directory: Path
    mlflow: str
    shown: list[str] = field(default_factory=list)

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=1500, cwd=self.directory
        )
        self.shown.append(done.stdout + done.stderr)
        return done

    def refused(self, *arguments: str) -> str:
        """What is said of a submission that never comes to the cluster."""
        done = self.call("orchestrator", "submit", *arguments)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
        return done.stderr

    def submit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.call("orchestrator", "submit", "job.yaml", *arguments)

    def rows(self) -> dict[str, dict[str, Any]]:
        done = speechprompt("results", str(self.directory / "job.yaml"), "--json")
        assert done.code == 0, done.stderr
        return {row["task"]: row for row in json.loads(done.stdout)["tasks"]}

    def runs(self) -> dict[str, str]:
        """Names and statuses of the lanes' runs."""
        client = MlflowClient(self.mlflow)
        experiment = client.get_experiment_by_name("toy")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        return {run.info.run_name: run.info.status for run in runs if "speechprompt.kind" not in run.data.tags}


@pytest.fixture(scope="module")
def submitter(cluster: Cluster, environment: None, tmp_path_factory: pytest.TempPathFactory) -> Submitter:  # noqa: ARG001
    """Everything that jobs read in place: tasks, manifests and audio, and a backbone."""
    home = tmp_path_factory.mktemp("home")
    uploaded = tmp_path_factory.mktemp("uploaded")
    write_units_task(home / "tasks/units", "orders", {"action": 3, "object": 2})
    write_tones(uploaded / "tasks")
    write_units_task(uploaded / "tasks", "diverges", {"label": 2}, recipe={"learning_rate": 1e38})
    for path in uploaded.rglob("*"):
        if path.is_file():
            object_storage.write_bytes(f"{STORE}/in/{path.relative_to(uploaded)}", path.read_bytes())
    waves = [tone(hertz, 0.5) for hertz in (250, 350, 2200, 2800)] + [babble(0, 1.0)]
    backbone = Backbone(
        name="tiny",
        config=TINY,
        lm_tensors={name: tensor.numpy().copy() for name, tensor in tiny_lm().state_dict().items()},
        unit_tokens=tuple(UNIT_TOKENS.tolist()),
        tokenizer=fit_mfcc_tokenizer(waves, units=UNITS, seed=0),
    )
    write_backbone(backbone, PLACES["backbone"])
    tracking = cluster.env["MLFLOW_TRACKING_URI"]
    job = {
        "name": "toy",
        **PLACES,
        "tracking": tracking,
        "tasks": ["tasks/units/orders.yaml", f"{STORE}/in/tasks/t*.yaml"],
        "baselines": "majority",
        "resources": {"workers": 1},
    }
    write_yaml(home / "job.yaml", job)
    object_storage.write_bytes(f"{STORE}/in/job.yaml", yaml.safe_dump({**job, "tasks": "tasks/*.yaml"}).encode())
    return Submitter(home, tracking)


def test_bad_input_is_exit_code_2_from_here_and_from_the_cluster(submitter: Submitter, tmp_path: Path) -> None:
    done = submitter.submit("--set", "precision=fp99", "--set", "tracking=nowhere")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "command line: precision: must be" in done.stdout
    assert "command line: tracking:" in done.stdout
    assert "2 problems; nothing was started" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    write_yaml(tmp_path / "job.yaml", {})
    for arguments, said in [
        (("job.yaml", "--address", "http://127.0.0.1:9"), "no Ray dashboard answers at http://127.0.0.1:9"),
        (("absent.yaml",), "there is no such job file"),
        ((str(tmp_path / "job.yaml"),), "not below the working directory"),
        (("job.yaml", "--env", "NAME"), "write NAME=VALUE"),
    ]:
        assert said in submitter.refused(*arguments)


def test_a_submitted_job_is_done_from_s3_to_s3(submitter: Submitter, tmp_path: Path) -> None:
    done = submitter.submit()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = submitter.rows()
    assert {name: row["status"] for name, row in rows.items()} == {"orders": "published", "tones": "published"}
    for name, row in rows.items():
        assert row["bundle"].startswith(f"{STORE}/bundles/{name}/")
        assert row["bundle"] in done.stdout
        assert verify(row["bundle"]).manifest.provenance.backbone_uri == PLACES["backbone"]
    assert rows["tones"]["test"] > rows["tones"]["majority"]
    assert (rows["tones"]["quarantined"], rows["tones"]["examples"]["train"]) == (1, 2 * CLIPS["train"])
    assert "computed" in done.stdout
    assert [name for name in object_storage.list_files(PLACES["units"]) if name.endswith(".parquet")]
    assert [name for name in object_storage.list_files(PLACES["storage"]) if "/checkpoint_" in name]
    assert submitter.runs() == {"orders s0": "FINISHED", "tones s0": "FINISHED"}

    wave = write_audio(tmp_path / "low.wav", tone(300, 0.4))
    classified = speechprompt("classify", "--bundle", f"{STORE}/bundles/tones", "--json", wave)
    assert classified.code == 0, classified.stderr
    assert json.loads(classified.stdout)["labels"]["tones"]["label"][0]["label"] in ("low", "high")


def test_a_plain_ray_job_takes_up_the_same_job_and_ends_with_1_where_a_task_fails(submitter: Submitter) -> None:
    before = submitter.rows()
    submit = ("ray.scripts.scripts", "job", "submit", "--working-dir", str(HERE), "--")
    done = submitter.call(*submit, "python", "-m", "orchestrator", "run", f"{STORE}/in/job.yaml")
    assert done.returncode == 1, done.stdout + done.stderr
    rows = submitter.rows()
    assert {name: row["status"] for name, row in rows.items()} == {"diverges": "failed", "tones": "published"}
    assert rows["tones"] == before["tones"]
    assert " 0 computed" in done.stdout
    assert "lower recipe.learning_rate" in done.stdout
    assert "Traceback" not in done.stdout
    assert submitter.runs()["diverges s0"] == "FAILED"


def test_no_secret_is_written_or_shown(cluster: Cluster, submitter: Submitter) -> None:
    """By the jobs above, and by looking at them: every byte of objects, logs, databases and spools."""
    for asked in (("doctor", "job.yaml"), ("plan", "job.yaml", "--no-probe", "--set", "tracking=ftp://me:planted-x@h")):
        submitter.call("orchestrator", *asked)
    for argument in ("--set=tracking=http://me:planted-x@host", "--env=AWS_SECRET_ACCESS_KEY=planted-x"):
        assert "which Ray would store and show" in submitter.refused("job.yaml", argument)
    assert cluster.temporary is not None
    names = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD")
    secrets = [
        b"planted-",
        *(cluster.env[name].encode() for name in names),
        (cluster.directory / "ray_token").read_bytes(),
    ]
    written = {f"printed {number}": text.encode() for number, text in enumerate(submitter.shown)}
    written |= {name: object_storage.read_bytes(f"{STORE}/{name}") for name in object_storage.list_files(STORE)}
    spool = Path(spool_directory(PLACES["storage"], "toy"))
    for place in (cluster.temporary, cluster.directory / "logs", cluster.directory / "mlflow", spool):
        written |= {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    # Which the server itself reads, and nobody else can.
    del written[str(cluster.directory / "mlflow" / "auth.ini")]
    assert any("checkpoint_" in name for name in written)
    assert any("mlflow.db" in name for name in written)
    assert any("job-driver" in name for name in written)
    assert [(name, secret) for name, content in written.items() for secret in secrets if secret in content] == []
