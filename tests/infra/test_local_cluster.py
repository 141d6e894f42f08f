"""What the local cluster records, and the care with which services are ended."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from infra.errors import SpeechPromptError
from infra.local_cluster.__main__ import main
from infra.local_cluster.cluster import Cluster
from infra.local_cluster.mlflow_server import _authentication
from infra.local_cluster.ray_head import start_ray_head
from infra.local_cluster.service import Service, free_port, launch


def test_the_password_of_an_earlier_time_is_kept(tmp_path: Path) -> None:
    """Since its users' database is, too."""
    _, first = _authentication(tmp_path)
    server, again = _authentication(tmp_path)
    assert first == again
    assert first["MLFLOW_TRACKING_PASSWORD"] not in server.values()
    (tmp_path / "auth.ini").write_text("[mlflow]\nadmin_passw")
    with pytest.raises(SpeechPromptError, match=r"auth\.ini: damaged") as raised:
        _authentication(tmp_path)
    assert raised.value.__suppress_context__


def test_status_of_nothing(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["status", "--directory", str(tmp_path)]).exit_code == 1


def sleeper(directory: Path, program: str = "import time; time.sleep(600)") -> Service:
    return launch("sleeper", [sys.executable, "-c", program], directory=directory, url="", ready=lambda: True)


def test_down_leaves_a_recycled_pid_alone(tmp_path: Path) -> None:
    stranger = sleeper(tmp_path)
    record = Service(name="old", pid=stranger.pid, url="", started=stranger.started - 3600, mark="0" * 32)
    cluster = Cluster(tmp_path, [record])
    cluster.save()
    Cluster.load(tmp_path).down()
    assert stranger.alive()
    stranger.stop()
    assert not stranger.alive()


def test_stop_ends_what_a_killed_server_left_behind(tmp_path: Path) -> None:
    program = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    program += " start_new_session=True); print('started', flush=True); time.sleep(600)"
    log = tmp_path / "logs" / "sleeper.log"
    service = launch(
        "sleeper",
        [sys.executable, "-c", program],
        directory=tmp_path,
        url="",
        ready=lambda: b"started" in log.read_bytes(),
    )
    (child,) = psutil.Process(service.pid).children()
    os.kill(service.pid, 9)
    service.stop()
    assert not child.is_running()


def test_a_server_that_ends_or_never_answers_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(SpeechPromptError, match=r"broken ended with code 7; see .*broken\.log"):
        launch("broken", [sys.executable, "-c", "exit(7)"], directory=tmp_path, url="", ready=lambda: False, timeout=20)
    with pytest.raises(SpeechPromptError, match="did not answer within 1 s"):
        launch(
            "mute",
            [sys.executable, "-c", "import time; time.sleep(600)"],
            directory=tmp_path,
            url="",
            ready=lambda: False,
            timeout=1,
        )


def test_a_damaged_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "services.json").write_text(json.dumps({"services": [{"pid": 1}]}), encoding="utf-8")
    with pytest.raises(SpeechPromptError, match="not a record"):
        Cluster.load(tmp_path)


def test_a_long_temporary_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechPromptError, match="sockets"):
        start_ray_head(tmp_path, port=free_port(), dashboard_port=free_port(), temporary=tmp_path / ("long" * 20))
