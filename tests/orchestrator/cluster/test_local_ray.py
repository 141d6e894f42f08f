"""A Ray of one's own: closed to other users, gone without a trace, and nothing of it left in the environment."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.private_ray import PREFIX
from orchestrator.cluster import local_ray
from orchestrator.cluster.local_ray import TOKEN, _environment, _remove_left
from tests.fixtures.other_user import LOOPBACK, as_another_user, listening, walk


def processes_of_ray() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


@pytest.mark.usefixtures("ray_cluster")
def test_everything_listens_on_loopback_only() -> None:
    addresses = {address.ip for address in listening(processes_of_ray())}
    assert addresses
    assert addresses <= LOOPBACK


@as_another_user
@pytest.mark.usefixtures("ray_cluster")
def test_another_user_finds_no_door_open() -> None:
    import ray

    [node] = ray.nodes()  # type: ignore[no-untyped-call]
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    running: Any = ray._private.worker._global_node
    session = Path(running.get_session_dir_path())
    places = [token, token.parent, session, *session.iterdir(), *Path("/dev/shm").glob("plasma*")]  # noqa: S108
    assert walk(processes_of_ray(), places, asked=[node["MetricsExportPort"]]) == []


RUN = """
import os, sys
os.umask(0o022)
import ray
from orchestrator.cluster.session import ray_session
with ray_session():
    print(os.environ["RAY_AUTH_TOKEN_PATH"], flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("own_ray")
def test_a_killed_run_without_a_home_leaves_nothing_for_long(tmp_path: Path) -> None:
    """Its TMPDIR is too long for sockets, its home cannot be written, and no umask helps it."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        env={**env, "HOME": "/proc", "TMPDIR": str(long)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        directory = Path(run.stdout.readline().strip()).parent
        started = psutil.Process(run.pid).children(recursive=True)
        assert directory.parent == Path("/tmp")  # noqa: S108
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert {address.ip for address in listening(started)} <= LOOPBACK
        _remove_left(directory.parent)
        assert (directory / TOKEN).exists(), "of a run that lives"
        run.send_signal(signal.SIGKILL)
    psutil.wait_procs(started, timeout=600)
    _remove_left(directory.parent)
    assert not directory.exists()


@pytest.mark.parametrize(("raylet", "waited_for"), [("sleep", 3), ("gone", 1)])
def test_a_node_is_waited_for_as_long_as_its_raylet_lives(
    monkeypatch: pytest.MonkeyPatch, raylet: str, waited_for: int
) -> None:
    monkeypatch.setattr(local_ray, "RAYLET_PROCESS", raylet)
    asked = []

    def ask(node: str) -> str:
        asked.append(node)
        if len(asked) < 3:
            raise RuntimeError("not registered")
        return "registered"

    with subprocess.Popen(["sleep", "60"]) as stands_for_raylet:
        try:
            if raylet == "sleep":
                assert local_ray._patient(ask)("node") == "registered"
            else:
                with pytest.raises(RuntimeError, match="not registered"):
                    local_ray._patient(ask)("node")
        finally:
            stands_for_raylet.kill()
    assert len(asked) == waited_for


def test_what_others_call_so_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for directory in (elsewhere, tmp_path / f"{PREFIX}empty", tmp_path / "other"):
        directory.mkdir()
    (elsewhere / TOKEN).touch()
    (tmp_path / "other" / TOKEN).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    _remove_left(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_environment_is_as_it_was_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    # The threads of a Ray that other tests use go on with the token that they have.
    monkeypatch.setattr(local_ray, "_read_environment", lambda: None)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of a real cluster")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    before = dict(os.environ)
    with _environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/nowhere"}):
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert "RAY_AUTH_TOKEN" not in os.environ
    assert dict(os.environ) == before
