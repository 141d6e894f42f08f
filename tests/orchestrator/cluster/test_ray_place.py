"""What keeps Ray from starting, found before it is tried."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from infra.errors import RayFailed
from infra.private_ray import PREFIX, SESSIONS
from orchestrator.cluster import ray_place
from orchestrator.cluster.ray_place import LONGEST_SOCKET, SOCKET_BYTES, place_for_ray, ray_problems, require_answer
from tests.fixtures.command_line import speechprompt

VARIABLES = ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def said() -> str:
    return "\n".join(map(str, ray_problems()))


def test_a_plain_environment_has_no_problems() -> None:
    assert ray_problems() == []


def test_a_path_may_be_as_long_as_sockets_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    below = len(LONGEST_SOCKET.format(pid=ray_place._highest_pid())) + 1
    longest = "/dev/shm/ü".ljust(SOCKET_BYTES - below - 1, "x")  # noqa: S108
    monkeypatch.setenv("RAY_TMPDIR", longest)
    assert ray_problems() == []
    monkeypatch.setenv("RAY_TMPDIR", longest + "x")
    assert "is 1 bytes too long" in said()


@pytest.mark.usefixtures("ray_cluster")
def test_the_longest_socket_is_that_of_ray() -> None:
    import ray
    from ray._common.utils import get_default_ray_temp_dir

    node: Any = ray._private.worker._global_node
    made = Path(node.plasma_store_socket_name).relative_to(Path(node.get_temp_dir_path()))
    ours = Path(LONGEST_SOCKET.format(pid=os.getpid())).relative_to(f"{PREFIX}12345678/{SESSIONS}")
    assert len(str(made)) == len(str(ours))
    assert len(Path(node.get_temp_dir_path()).parent.name) == len(f"{PREFIX}12345678")
    assert len(Path(node.raylet_socket_name).name) <= len(made.name)
    for variables in ({}, {"TMPDIR": "/a"}, {"RAY_TMPDIR": "/b"}, {"TMPDIR": "/a", "RAY_TMPDIR": "/b"}):
        with patch.dict(os.environ, variables):
            assert get_default_ray_temp_dir() == f"{ray_place.temporary_directory()}/ray"  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("/dev/shm", "/dev/shm"),  # noqa: S108
        ("/scratch/jobs/slurm.12345678.cluster.example.org", "/tmp"),  # noqa: S108
        ("/proc/nothing", "/tmp"),  # noqa: S108
        ("tmp", "/tmp"),  # noqa: S108
        ("", "/tmp"),  # noqa: S108
    ],
)
def test_where_tmpdir_is_not_fit_there_is_still_tmp(value: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", value)
    assert ray_problems() == []
    assert place_for_ray()[1] == place


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("RAY_TMPDIR", "", "RAY_TMPDIR: '' is not an absolute path, which Ray needs; set RAY_TMPDIR to a short path"),
        ("RAY_TMPDIR", "tmp", "'tmp' is not an absolute path"),
        ("RAY_TMPDIR", "/dev/null", "Ray cannot write its files to /dev/null: /dev/null cannot be written"),
        ("RAY_TMPDIR", "/proc/self/nothing", "Ray cannot write its files to /proc/self/nothing"),
        ("RAY_TMPDIR", "/proc/nothing", "Ray cannot write its files to /proc/nothing: /proc cannot be written"),
        (
            "RAY_ADDRESS",
            "http://head:8265",
            "is the address of a dashboard, to which jobs are submitted; use 'speechprompt submit'",
        ),
        ("RAY_ADDRESS", "ray://head:10001", "is for Ray Client, which Ray Tune and Ray Train do not support"),
        ("RAY_ADDRESS", "head", "'head' is not the address of a Ray cluster; write host:port"),
        ("RAY_ADDRESS", "head:ray", "is not the address"),
        ("RAY_ADDRESS", "head:0", "is not the address"),
        ("RAY_ADDRESS", "head:123456", "is not the address"),
        ("RAY_ADDRESS", "ssh://head:22", "is not the address"),
        ("RAY_ADDRESS", "10.0.0.1:6379,10.0.0.2:6379", "is not the address"),
        ("RAY_gcs_server_request_timeout_seconds", "abc", "='abc': Ray cannot start with this setting; correct it"),
    ],
)
def test_what_ray_could_not_use(variable: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    assert problem in said()


def test_the_doctor_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head")
    done = speechprompt("doctor")
    assert done.code == 1
    assert "'head' is not the address of a Ray cluster" in done.stdout


@pytest.mark.parametrize(
    "address", ["local", "", " ", "auto", "10.0.0.1:6379", "[::1]:6379", "head.cluster.local:6379"]
)
def test_addresses_that_ray_takes(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert ray_problems() == []


def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_place, "FREE_DISK", 1 << 60)
    assert "the disk of /tmp is full" in said()


def test_a_door_at_which_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        require_answer(address)
    with pytest.raises(RayFailed, match=rf"no Ray cluster answers at {address} \(Connection refused\); start it"):
        require_answer(address)
    with pytest.raises(RayFailed, match="no Ray cluster answers at nobody"):
        require_answer("nobody.invalid:1")


def test_the_last_cluster_of_this_machine_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    require_answer("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text("127.0.0.1:9")
    with pytest.raises(RayFailed, match=r"no Ray cluster answers at 127\.0\.0\.1:9"):
        require_answer("auto")
