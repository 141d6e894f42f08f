"""The local cluster for real: who may come in, and what a job finds in it."""

from __future__ import annotations

import http.client
import stat
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from infra.errors import SpeechPromptError
from infra.local_cluster import cluster as local_cluster
from infra.local_cluster.__main__ import main
from infra.local_cluster.cluster import Cluster
from tests.fixtures.other_user import LOOPBACK, as_another_user, listening, walk

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


def processes_of(cluster: Cluster) -> list[psutil.Process]:
    return [process for service in cluster.services for process in service._members()]


def test_everything_listens_on_loopback_only(cluster: Cluster) -> None:
    addresses = {address.ip for address in listening(processes_of(cluster))}
    assert addresses
    assert addresses <= LOOPBACK


@as_another_user
def test_another_user_finds_no_door_open(cluster: Cluster) -> None:
    assert cluster.temporary is not None
    places = [cluster.directory, *cluster.directory.rglob("*"), cluster.temporary, *cluster.temporary.rglob("*")]
    assert walk(processes_of(cluster), places) == []


def test_credentials_are_private_and_in_no_command_line(cluster: Cluster) -> None:
    secrets = {cluster.env[name] for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD")}
    token = Path(cluster.env["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="utf-8")
    for name in ("env.sh", "ray_token", "s3.json", "services.json", "mlflow/auth.ini"):
        assert stat.S_IMODE((cluster.directory / name).stat().st_mode) == 0o600, name
    for service in cluster.services:
        assert not [secret for secret in secrets if secret in repr(service)]
        for process in service._members():
            assert not {*secrets, token} & {part for word in process.cmdline() for part in word.split("=")}
    for file in (cluster.directory / "services.json", *(cluster.directory / "logs").glob("*.log")):
        text = file.read_text(encoding="utf-8", errors="replace")
        assert not [secret for secret in {*secrets, token} if secret in text], file


def jobs(cluster: Cluster, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(cluster.env["RAY_API_SERVER_ADDRESS"].removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", "/api/jobs/", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_ray_asks_for_the_token(cluster: Cluster) -> None:
    assert jobs(cluster, {})[0] == 401


def test_mlflow_asks_for_the_password(cluster: Cluster) -> None:
    env = cluster.env
    known = f"{env['MLFLOW_TRACKING_USERNAME']}:{env['MLFLOW_TRACKING_PASSWORD']}"
    for credentials, status in ((None, 401), ("admin:password", 401), (known, 200)):
        headers = {"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"} if credentials else {}
        connection = http.client.HTTPConnection(env["MLFLOW_TRACKING_URI"].removeprefix("http://"), timeout=60)
        try:
            connection.request("GET", "/api/2.0/mlflow/experiments/search?max_results=1", headers=headers)
            assert connection.getresponse().status == status
        finally:
            connection.close()


def test_s3_asks_for_its_keys(cluster: Cluster) -> None:
    connection = http.client.HTTPConnection(cluster.env["AWS_ENDPOINT_URL_S3"].removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", f"/{local_cluster.BUCKET}")
        assert connection.getresponse().status == 403
    finally:
        connection.close()


def test_a_job_has_the_environment_of_the_other_services(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB, encoding="utf-8")
    script = f'source {cluster.directory}/env.sh && "{sys.executable}" -m ray.scripts.scripts job submit '
    script += f'--working-dir {tmp_path} -- "{sys.executable}" job.py'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    env = cluster.env
    assert f"seen {env['MLFLOW_TRACKING_URI']} {env['AWS_ENDPOINT_URL_S3']} True" in done.stdout
    token = Path(env["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="utf-8")
    _, metadata = jobs(cluster, {"Authorization": f"Bearer {token}"})
    assert "job.py" in metadata
    assert env["AWS_SECRET_ACCESS_KEY"] not in metadata


def test_status_says_what_lives_and_up_refuses_a_second_time(cluster: Cluster) -> None:
    status = CliRunner().invoke(main, ["status", "--directory", str(cluster.directory)])
    assert status.exit_code == 0
    assert [line.split("\t")[:2] for line in status.stdout.splitlines()] == [
        ["s3", "running"],
        ["mlflow", "running"],
        ["ray", "running"],
    ]
    with pytest.raises(SpeechPromptError, match="runs already"):
        local_cluster.up(cluster.directory)
