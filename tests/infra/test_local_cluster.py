"""The local cluster for real: one up, a job through Ray, one down; and the care with which services are ended."""

from __future__ import annotations

import http.client
import json
import os
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from infra.errors import SpeechPromptError
from infra.local_cluster import cluster as local_cluster
from infra.local_cluster.__main__ import main
from infra.local_cluster.cluster import Cluster
from infra.local_cluster.mlflow_server import _authentication
from infra.local_cluster.ray_head import start_ray_head
from infra.local_cluster.service import Service, free_port, launch
from tests.fixtures.other_user import LOOPBACK, as_another_user, listening, walk

pytestmark = pytest.mark.servers

JOB = """
import os, ray
ray.init()

@ray.remote
def seen():
    return os.environ["MLFLOW_TRACKING_URI"], os.environ["AWS_ENDPOINT_URL_S3"], {
        "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"
    } <= set(os.environ)

print("seen", *ray.get(seen.remote()))
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    # Open to everybody, were it not that the cluster closes it; as it would be what it makes under this umask.
    directory.chmod(0o755)
    umask = os.umask(0o022)
    try:
        with pytest.MonkeyPatch.context() as patch:
            # Of the Ray of other tests, where this process has started one.
            patch.delenv("RAY_enable_metrics_collection", raising=False)
            cluster = local_cluster.up(directory, cpus=1)
    finally:
        os.umask(umask)
    temporary = cluster.temporary
    processes = [process for service in cluster.services for process in service._members()]
    assert len(processes) > len(cluster.services)
    yield cluster
    Cluster.load(directory).down()
    for service in cluster.services:
        service.stop()  # harmless by now; the parent of the processes must reap them
    assert not [process for process in processes if process.is_running()]
    assert temporary is not None
    assert not temporary.exists()
    assert not (directory / "env.sh").exists()
    assert list((directory / "logs").glob("session_*/gcs_server.out"))


def processes_of(cluster: Cluster) -> list[psutil.Process]:
    return [process for service in cluster.services for process in service._members()]


def test_everything_listens_on_loopback_only(running: Cluster) -> None:
    addresses = {address.ip for address in listening(processes_of(running))}
    assert addresses
    assert addresses <= LOOPBACK


@as_another_user
def test_another_user_finds_no_door_open(running: Cluster) -> None:
    assert running.temporary is not None
    places = [running.directory, *running.directory.rglob("*"), running.temporary, *running.temporary.rglob("*")]
    assert walk(processes_of(running), places) == []


def test_credentials_are_private_and_in_no_command_line(running: Cluster) -> None:
    secrets = {running.env[name] for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD")}
    token = Path(running.env["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="utf-8")
    for name in ("env.sh", "ray_token", "s3.json", "services.json", "mlflow/auth.ini"):
        assert stat.S_IMODE((running.directory / name).stat().st_mode) == 0o600, name
    for service in running.services:
        assert not [secret for secret in secrets if secret in repr(service)]
        for process in service._members():
            assert not {*secrets, token} & {part for word in process.cmdline() for part in word.split("=")}
    for file in (running.directory / "services.json", *(running.directory / "logs").glob("*.log")):
        text = file.read_text(encoding="utf-8", errors="replace")
        assert not [secret for secret in {*secrets, token} if secret in text], file


def jobs(running: Cluster, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(running.env["RAY_API_SERVER_ADDRESS"].removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/api/jobs/", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_ray_asks_for_the_token(running: Cluster) -> None:
    assert jobs(running, {})[0] == 401


def test_mlflow_asks_for_the_password(running: Cluster) -> None:
    env = running.env
    known = f"{env['MLFLOW_TRACKING_USERNAME']}:{env['MLFLOW_TRACKING_PASSWORD']}"
    for credentials, status in ((None, 401), ("admin:password", 401), (known, 200)):
        headers = {"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"} if credentials else {}
        connection = http.client.HTTPConnection(env["MLFLOW_TRACKING_URI"].removeprefix("http://"), timeout=10)
        try:
            connection.request("GET", "/api/2.0/mlflow/experiments/search?max_results=1", headers=headers)
            assert connection.getresponse().status == status
        finally:
            connection.close()


def test_s3_asks_for_its_keys(running: Cluster) -> None:
    connection = http.client.HTTPConnection(running.env["AWS_ENDPOINT_URL_S3"].removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", f"/{local_cluster.BUCKET}")
        assert connection.getresponse().status == 403
    finally:
        connection.close()


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


def test_a_job_has_the_environment_of_the_other_services(running: Cluster, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB, encoding="utf-8")
    script = f'source {running.directory}/env.sh && "{sys.executable}" -m ray.scripts.scripts job submit '
    script += f'--working-dir {tmp_path} -- "{sys.executable}" job.py'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    env = running.env
    assert f"seen {env['MLFLOW_TRACKING_URI']} {env['AWS_ENDPOINT_URL_S3']} True" in done.stdout
    token = Path(env["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="utf-8")
    _, metadata = jobs(running, {"Authorization": f"Bearer {token}"})
    assert "job.py" in metadata
    assert env["AWS_SECRET_ACCESS_KEY"] not in metadata


def test_status_says_what_lives_and_up_refuses_a_second_time(running: Cluster) -> None:
    status = CliRunner().invoke(main, ["status", "--directory", str(running.directory)])
    assert status.exit_code == 0
    assert [line.split("\t")[:2] for line in status.stdout.splitlines()] == [
        ["s3", "running"],
        ["mlflow", "running"],
        ["ray", "running"],
    ]
    with pytest.raises(SpeechPromptError, match="runs already"):
        local_cluster.up(running.directory)


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
