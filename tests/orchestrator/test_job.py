"""Job files: defaults, overrides, and what is said about faulty ones."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra import object_storage
from infra.errors import InvalidInputs
from infra.tracking.mlflow_store import MLflowStore
from infra.tracking.trackers import TRACKERS
from orchestrator.job import Job, Resources, load_job
from tests.fixtures.s3_server import S3Server

MINIMAL = "backbone: backbone\ntasks: tasks/*.yaml\n"


def write(directory: Path, text: str = MINIMAL, name: str = "commands.yaml") -> str:
    (directory / name).write_text(text, encoding="utf-8")
    return str(directory / name)


def faults(path: str, *overrides: str) -> list[str]:
    """What is wrong with a job, as sentences without the directory."""
    with pytest.raises(InvalidInputs) as caught:
        load_job(path, overrides)
    return [str(problem).replace(f"{Path(path).parent}/", "") for problem in caught.value.problems]


def test_backbone_and_tasks_are_enough(tmp_path: Path) -> None:
    job = load_job(write(tmp_path))
    assert job.canonical() == {
        "name": "commands",
        "backbone": f"{tmp_path}/backbone",
        "tasks": [f"{tmp_path}/tasks/*.yaml"],
        "bundles": f"{tmp_path}/bundles",
        "storage": f"{tmp_path}/runs",
        "tracking": f"sqlite:///{tmp_path}/mlflow.db",
        "units": f"{tmp_path}/units",
        "resources": {"gpus": None, "cpus": None, "workers": None},
        "gang": "auto",
        "precision": "auto",
        "baselines": ["majority", "ngrams"],
    }
    assert job.source == f"{tmp_path}/commands.yaml"


def test_every_field_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "prompts")
    text = """name: baltic-commands
backbone: s3://models/gslm
tasks: [../tasks/*.yaml, s3://tasks/lt.yaml]
bundles: s3://${BUCKET}/baltic
storage: /runs
tracking: http://mlflow.internal:5000
units: ~/units
resources: {gpus: 0.5, cpus: 2, workers: 8}
gang: 4
baselines: [probe, majority, probe]
"""
    job = load_job(write(tmp_path, text))
    assert job.tasks == (f"{tmp_path.parent}/tasks/*.yaml", "s3://tasks/lt.yaml")
    assert job.bundles == "s3://prompts/baltic"
    assert job.units == f"{Path.home()}/units"
    assert job.tracking == "http://mlflow.internal:5000"
    assert job.resources == Resources(gpus=0.5, cpus=2, workers=8)
    assert job.gang == 4
    assert job.baselines == ("probe", "majority")


def test_baselines_may_be_one_or_none_but_no_others(tmp_path: Path) -> None:
    assert load_job(write(tmp_path, MINIMAL + "baselines: probe\n")).baselines == ("probe",)
    assert load_job(write(tmp_path, MINIMAL + "baselines: []\n")).baselines == ()
    assert faults(write(tmp_path, MINIMAL + "baselines: [ngram]\n")) == [
        "commands.yaml:3: baselines: there is no baseline 'ngram'; did you mean 'ngrams'?"
    ]
    assert faults(write(tmp_path, MINIMAL + "baselines: {ngrams: 1}\n")) == [
        "commands.yaml:3: baselines: must be a list of baselines, not a mapping; choose from majority, ngrams, probe, "
        "cnn, encoder"
    ]


def test_a_relative_job_file_starts_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_job("commands.yaml") == load_job(f"{tmp_path}/commands.yaml")
    with pytest.raises(InvalidInputs, match=r"^nothing\.yaml: there is no such file; correct the path$"):
        load_job("nothing.yaml")


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "resources: {cpus: 1}\n")
    job = load_job(
        path,
        [
            "resources.gpus=0.5",
            "gang=3",
            "tasks=[a.yaml, b.yaml]",
            "units=../u",
            "name='007'",
            "tracking=sqlite:///t.db",
        ],
    )
    assert job.resources == Resources(gpus=0.5, cpus=1)
    assert job.gang == 3
    assert job.tasks == (f"{tmp_path}/a.yaml", f"{tmp_path}/b.yaml")
    assert job.units == f"{tmp_path.parent}/u"
    assert job.name == "007"
    assert job.tracking == f"sqlite:///{tmp_path}/t.db"


def test_an_override_does_not_reach_through_an_alias(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "resources: &r {cpus: 1}\nextra: *r\n")
    assert faults(path, "resources.cpus=x", "resources.cpus=2") == [
        "commands.yaml:4: extra: is not a known key; "
        "use one of name, backbone, tasks, bundles, storage, tracking, units, resources, gang, precision, baselines"
    ]


FIELD_VALUES = {
    "name": st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
    "backbone": st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True).map(lambda word: f"/models/{word}"),
    "gang": st.just("auto") | st.integers(1, 1024),
    "resources": st.fixed_dictionaries(
        {},
        optional={
            "gpus": st.none() | st.just(0.0) | st.floats(0.001, 1) | st.integers(2, 64),
            "cpus": st.none() | st.integers(1, 64),
            "workers": st.none() | st.integers(1, 100),
        },
    ),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({}, optional=FIELD_VALUES))
def test_an_override_equals_the_same_line_in_the_file(tmp_path: Path, fields: dict[str, Any]) -> None:
    lines = {**yaml.safe_load(MINIMAL), **fields}
    in_file = load_job(write(tmp_path, json.dumps(lines)))
    path = write(tmp_path)
    overrides = [f"{name}={json.dumps(value)}" for name, value in fields.items()]
    assert load_job(path, overrides) == in_file


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(["", *Job.model_fields]))
def test_any_override_is_taken_or_a_problem(tmp_path: Path, left: str, right: str, field: str) -> None:
    path = write(tmp_path)
    # The second is never one, so that there is something to tell.
    with pytest.raises(InvalidInputs) as caught:
        load_job(path, [f"{field or left}={right}", left.replace("=", "")])
    assert all(problem.message and problem.remedy for problem in caught.value.problems)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = """nam: Foo
tasks: [tasks/*.yaml, 3]
resources: {gpu: 1, cpus: many, gpus: 1.5}
gang: often
gang: 3
storage: ${NOT_SET}/x
units: gs://foo
bundles:
tracking: file:///mlruns
"""
    assert faults(write(tmp_path, text), "gang=x", "word", "resources.foo=1", "tasks.x=3", "name=[") == [
        "commands.yaml:5: gang: is given twice, first in line 4; remove one of them",
        "command line: 'word' is not an assignment; write field=VALUE, such as resources.gpus=0.5",
        "command line: tasks.x: 'tasks' has no fields; name a field that exists",
        "command line: name: '[' is not a YAML value; put it in quotes",
        "commands.yaml: backbone: is required; add 'backbone:'",
        "commands.yaml:2: tasks[1]: must be text, not the number 3; write it in quotes",
        "commands.yaml:8: bundles: is empty, but must be text; give it a value, or remove the line",
        "commands.yaml:6: storage: the environment variable NOT_SET is not set; set NOT_SET, or write the path itself",
        "commands.yaml:9: tracking: is not an address that MLflow can track to; "
        "write http://host:port or sqlite:///mlflow.db",
        "commands.yaml:7: units: 'gs://foo' has an unknown scheme; use a local path or s3://bucket/key",
        "commands.yaml:3: resources.gpus: 1.5 GPUs cannot be given to one actor; above 1, write a whole number",
        "commands.yaml:3: resources.cpus: must be a number, not 'many'; write a number",
        "commands.yaml:3: resources.gpu: is not a known key; did you mean 'gpus'?",
        "command line: resources.foo: is not a known key; use one of gpus, cpus, workers",
        "command line: gang: must be 'auto' or a number of lanes, not 'x'; write auto, or 1 to 1024",
        "commands.yaml:1: nam: is not a known key; did you mean 'name'?",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gang: 0", "commands.yaml:3: gang: must be 'auto' or a number of lanes, not the number 0"),
        ("gang: true", "commands.yaml:3: gang: must be 'auto' or a number of lanes, not the truth value true"),
        ("name: Größe", "commands.yaml:3: name: 'Größe' is not a valid name"),
        ("name: ../x", "commands.yaml:3: name: '../x' is not a valid name"),
        ("resources: {workers: 0}", "commands.yaml:3: resources.workers: must be at least 1, not the number 0"),
        ("resources: {gpus: -1}", "commands.yaml:3: resources.gpus: must be at least 0, not the number -1"),
        ("resources: {cpus: 0}", "commands.yaml:3: resources.cpus: must be at least 0.01, not the number 0"),
        ("resources: {cpus: .inf}", "commands.yaml:3: resources.cpus: "),
        ("resources: 3", "commands.yaml:3: resources: must be a mapping (lines of 'key: value'), not the number 3"),
        ("tracking: sqlite:///s3://b/mlflow.db", "commands.yaml:3: tracking: SQLite cannot keep its file in S3"),
        ("tracking: 5000", "commands.yaml:3: tracking: must be an address, not the number 5000"),
    ],
)
def test_each_fault(tmp_path: Path, line: str, message: str) -> None:
    assert faults(write(tmp_path, MINIMAL + line))[0].startswith(message)


def test_the_address_of_a_registered_tracker_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, MINIMAL + "tracking: board://host/team")
    assert faults(path)[0].startswith("commands.yaml:3: tracking: is not an address that MLflow can track to; ")
    monkeypatch.setitem(TRACKERS, "board", MLflowStore)
    assert load_job(path).tracking == "board://host/team"


def test_no_tasks(tmp_path: Path) -> None:
    assert faults(write(tmp_path, "backbone: b\ntasks: []")) == [
        "commands.yaml:2: tasks: has too few entries; give 1 or more"
    ]


def test_a_password_in_an_address_is_not_repeated(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "tracking: ftp://user:hunter2@host\n")
    assert "hunter2" not in "".join(faults(path))


def test_a_file_name_that_is_no_job_name(tmp_path: Path) -> None:
    assert faults(write(tmp_path, name="My Job.yaml"))[0].startswith("My Job.yaml: name: 'My Job' is not a valid name")


def test_a_job_survives_pickling(tmp_path: Path) -> None:
    job = load_job(write(tmp_path))
    again = pickle.loads(pickle.dumps(job))  # noqa: S301 (as Ray does between processes)
    assert again == job
    assert again.source == job.source


def test_a_job_file_in_s3_says_where_things_live(s3: S3Server) -> None:
    prefix = s3.fresh_prefix()
    uri = f"{prefix}/job.yaml"
    object_storage.write_bytes(uri, MINIMAL.encode())
    assert [fault.split(":")[2:] for fault in faults(uri)] == [
        [f" {field}", f" has no default for a job file in S3; add '{field}", "'"]
        for field in ("bundles", "storage", "tracking", "units")
    ]
    given_ = ["bundles=b", "storage=s3://x/runs", "tracking=http://mlflow:5000", "units=u"]
    job = load_job(uri, given_)
    assert job.bundles == f"{prefix}/b"
    assert job.backbone == f"{prefix}/backbone"
    assert job.tasks == (f"{prefix}/tasks/*.yaml",)


def test_a_tracking_file_beside_a_job_in_s3(s3: S3Server) -> None:
    uri = f"{s3.fresh_prefix()}/job.yaml"
    object_storage.write_bytes(uri, yaml.safe_dump({"backbone": "b", "tasks": ["t.yaml"]}).encode())
    overrides = ("bundles=b", "storage=r", "units=u", "tracking=sqlite:///mlflow.db")
    assert "SQLite cannot keep its file in S3" in faults(uri, *overrides)[0]
