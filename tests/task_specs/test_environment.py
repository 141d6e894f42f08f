"""Variables in paths: what is expanded, what is refused with what to write, and how a dollar sign is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from infra.errors import StorageError
from infra.uris import resolve
from orchestrator.job import load_job
from orchestrator.pretraining.file import load_pretrain_file
from task_specs.field_types import expand, literal, located
from task_specs.schema import load_task_specs
from task_specs.yaml_file import read_yaml
from tests.fixtures.command_line import speechprompt
from tests.fixtures.tuning import tiny_backbone
from tests.task_specs.files import SOUND, delimited
from workers.backbone.directory import write_backbone


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOT", "/data")
    monkeypatch.setenv("ODD", "/a$b/${ROOT}/%X%")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)


@pytest.mark.parametrize(
    ("path", "expanded"),
    [
        ("${ROOT}/audio", "/data/audio"),
        ("${ROOT}${ROOT}", "/data/data"),
        ("${ODD}/x", "/a$b/${ROOT}/%X%/x"),
        ("$$ROOT/audio", "$ROOT/audio"),
        ("$${ROOT}", "${ROOT}"),
        ("costs$", "costs$"),
        ("a$1/$-/$.wav", "a$1/$-/$.wav"),
        ("s3://b/%E3%81%82/x", "s3://b/%E3%81%82/x"),
        ("./%ROOT%/x", "./%ROOT%/x"),
    ],
)
def test_what_is_expanded(path: str, expanded: str) -> None:
    assert expand(path) == expanded


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("$ROOT/audio", "$ROOT has no braces; write ${ROOT}, or $$ROOT for a dollar sign"),
        ("a/$UNSET", "$UNSET has no braces; write ${UNSET}"),
        ("${ROOT:-/tmp}/x", "${ROOT:-/tmp} has a default, which is not supported; write ${ROOT} and set ROOT"),
        ("${ROOT:?not set}", "has a default, which is not supported; write ${ROOT}"),
        ("$(pwd)/x", "'$(' begins a command, which is not run; write the path itself"),
        ("%ROOT%/x", "%ROOT% is not expanded; write ${ROOT}, or ./%ROOT% for that name"),
        ("${ROOT/audio", "a '${' is not closed; write it as ${NAME}"),
        ("${ROOT", "a '${' is not closed"),
        ("${${ROOT}}", "a '${' is not closed"),
        ("${}/x", "${} is not the name of an environment variable"),
        ("${ ROOT }/x", "is not the name of an environment variable"),
        ("${env:ROOT}/x", "${env:ROOT} is another tool's form of a variable; write ${ROOT}"),
        ("${oc.env:ROOT,/tmp}/x", "is another tool's form of a variable; write ${ROOT}"),
        ("${env.ROOT}/x", "is another tool's form of a variable; write ${ROOT}"),
        ("$env:ROOT/x", "$env:ROOT has no braces; write ${ROOT}, or $$env:ROOT for a dollar sign"),
        ("${UNSET}/x", "the environment variable UNSET is not set; set UNSET"),
        ("${EMPTY}/x", "the environment variable EMPTY is not set"),
    ],
)
def test_what_is_refused_and_what_to_write(path: str, said: str) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        expand(path)
    assert said in str(refused.value)


@given(st.text(max_size=20))
def test_any_name_can_be_written(name: str) -> None:
    assert expand(literal(name)).removeprefix("./") == name.removeprefix("./")


def test_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert located("~/data", "/base") == "/home/me/data"
    assert located("./~bob/data", "/base") == "/base/~bob/data"
    assert located("~/x", None) == "/home/me/x"
    with pytest.raises(PydanticCustomError, match=r"~bob is not expanded; write that directory, or \./~bob"):
        located("~bob/data", "/base")
    for home in ("", "relative"):
        monkeypatch.setenv("HOME", home)
        with pytest.raises(StorageError, match="set HOME to an absolute path"):
            resolve("~/data", "/base")


@pytest.mark.parametrize("path", ["s3:/bucket/key", "s3:bucket/key", "https:/host/x", "file:/data", "S3://bucket/key"])
def test_what_is_nearly_an_address_is_no_directory(path: str) -> None:
    with pytest.raises(StorageError, match=r"; use a local path or s3://bucket/key"):
        resolve(path, "/base")
    assert resolve(f"./{path}", "/base") == f"/base/{path.replace('//', '/')}"


def test_what_a_variable_holds_is_not_expanded_again_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "a$b ${c}"
    odd.mkdir()
    monkeypatch.setenv("HERE", str(odd))
    write_backbone(tiny_backbone(), str(odd / "backbone"))
    (odd / "data.csv").write_text(delimited(SOUND))
    (odd / "task.yaml").write_text("name: t\ndata: {path: '${HERE}/data.csv'}\n")
    job = tmp_path / "job.yaml"
    job.write_text(
        "backbone: ${HERE}/backbone\ntasks: ${HERE}/*.yaml\nstorage: ${HERE}/runs\n"
        "tracking: sqlite:///${HERE}/mlflow.db\n"
    )
    loaded = load_job(str(job))
    assert loaded.tracking == f"sqlite:///{odd}/mlflow.db"
    assert load_task_specs(loaded.tasks, "/")[0][0].name == "t"
    done = speechprompt("plan", str(job), "--no-probe")
    assert done.code == 0, done.stderr


FIELDS = ("out=$HERE/b", "tasks=$HERE/*.yaml", "storage=$HERE", "units=$HERE", "tracking=sqlite:///$HERE/m.db")


@pytest.mark.parametrize("field", FIELDS)
def test_every_path_of_a_backbone_file_and_of_the_command_line_says_so(tmp_path: Path, field: str) -> None:
    file = tmp_path / "backbone.yaml"
    file.write_text("out: b\ntasks: t.yaml\ntokenizer: {kind: backbone, uri: $HERE}\n")
    with pytest.raises(ValueError, match=r"\$HERE has no braces") as refused:
        load_pretrain_file(str(file), [field])
    said = str(refused.value)
    assert f"command line: {field.partition('=')[0]}" in said
    assert f"{file}:3: tokenizer.uri: $HERE has no braces" in said


def test_a_password_with_a_dollar_sign_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("backbone: b\ntasks: t.yaml\ntracking: http://me:pa$word@mlflow:5000\n")
    with pytest.raises(ValueError, match=r"write \$\$ for a dollar sign") as refused:
        load_job(str(tmp_path / "job.yaml"))
    assert "$word" not in str(refused.value)
    (tmp_path / "job.yaml").write_text("backbone: b\ntasks: t.yaml\ntracking: http://me:pa$$word@mlflow:5000\n")
    assert load_job(str(tmp_path / "job.yaml")).tracking == "http://me:pa$word@mlflow:5000"


@pytest.mark.parametrize(
    "value",
    ["{root: ${ROOT}/audio}", "{path: a, root: ${ROOT}}", "[${ROOT}/a]", "{a: [x, ${ROOT}]}", "{${ROOT}: a}"],
)
def test_a_variable_within_braces_of_yaml_needs_quotes(tmp_path: Path, value: str) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(f"data: {value}\n")
    _, problems = read_yaml(str(file))
    assert [problem.remedy for problem in problems] == ["put the value with ${...} in double quotes"]


def test_another_brace_out_of_place_is_a_matter_of_syntax(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("data: {a: b {c}}\n")
    _, problems = read_yaml(str(file))
    assert [problem.remedy for problem in problems] == ["correct the syntax there"]
