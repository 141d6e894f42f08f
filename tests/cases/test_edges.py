"""Shared cases at the edges: paths, MLflow and Ray."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.tracking.mlflow_client import client
from orchestrator.cluster.ray_place import LONGEST_SOCKET, SOCKET_BYTES
from tests.fixtures.command_line import speechprompt


@pytest.mark.case("38-variable-without-braces")
def test_a_variable_without_braces_is_named(shared_case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_ROOT", str(shared_case))
    done = speechprompt("plan", str(shared_case / "job.yaml"), "--no-probe")
    assert done.code == 2
    [problem] = done.problems
    assert "data.root: $DATA_ROOT has no braces; write ${DATA_ROOT}, or $$DATA_ROOT for a dollar sign" in problem


@pytest.mark.case("80-mlflow-deleted-experiment")
def test_a_deleted_experiment_is_a_problem_of_the_plan(shared_case: Path, empty_store: Path) -> None:
    shutil.copyfile(empty_store, shared_case / "mlflow.db")
    store = client(f"sqlite:///{shared_case}/mlflow.db")
    store.delete_experiment(store.create_experiment("case"))
    for command in (("plan", "--no-probe"), ("run",)):
        done = speechprompt(command[0], str(shared_case / "job.yaml"), *command[1:])
        assert done.code == 2
        [problem] = done.problems
        assert "job.yaml: tracking: sqlite:///" in problem
        assert "experiment case is deleted; restore it by 'mlflow experiments restore" in problem


@pytest.mark.case("81-long-ray-tmpdir")
def test_a_temporary_directory_too_long_for_sockets_is_found_before_ray_starts(
    shared_case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = f"/{'x' * 69}"
    monkeypatch.setenv("RAY_TMPDIR", long)
    pid = Path("/proc/sys/kernel/pid_max").read_text().strip()
    excess = len(f"{long}/{LONGEST_SOCKET.format(pid=pid)}") - SOCKET_BYTES
    said = (
        f"RAY_TMPDIR: {long} is {excess} bytes too long for the sockets that Ray makes in it; set RAY_TMPDIR to "
        "a short path"
    )
    for command in (("plan", "--no-probe"), ("run",), ("tokenize",)):
        done = speechprompt(command[0], str(shared_case / "job.yaml"), *command[1:])
        assert done.code == 2
        [problem] = done.problems
        assert problem.startswith(said)
    done = speechprompt("doctor", str(shared_case / "job.yaml"))
    assert done.code == 1
    assert said in done.stdout
