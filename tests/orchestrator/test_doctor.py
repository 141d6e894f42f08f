"""What the doctor sees, of real stores and servers and of ones that are not as they should be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra import object_storage
from infra.conditional_writes import PROBE
from infra.local_cluster.service import Service
from orchestrator import doctor
from tests.fixtures.answering import HEAD, drip, sending
from tests.fixtures.command_line import speechprompt
from tests.fixtures.faulty_proxy import Fault, FaultyProxy
from tests.fixtures.s3_server import S3Server
from tests.fixtures.tiny_job import write_yaml
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone


@pytest.fixture
def job(tmp_path: Path) -> Path:
    write_backbone(tiny_backbone(), str(tmp_path / "backbone"))
    return write_yaml(tmp_path / "job.yaml", {"backbone": "backbone", "tasks": "tasks/*.yaml"})


def findings(*arguments: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    done = speechprompt("doctor", "--json", *arguments)
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(done.stdout):
        found.setdefault(finding["what"], []).append(finding)
    return done.code, found


def test_without_a_job_it_looks_at_the_machine() -> None:
    code, found = findings()
    assert code == 0
    assert set(found) == {"packages", "CPU", "GPU", "open files", "Ray", "shared memory"}
    assert "torch " in found["packages"][0]["seen"]


def test_a_sound_job_on_real_servers(job: Path, s3: S3Server, mlflow_server: Service) -> None:
    bundles = s3.fresh_prefix()
    code, found = findings(str(job), "--set", f"bundles={bundles}", "--set", f"tracking={mlflow_server.url}")
    assert code == 0, found
    assert found["S3"][0]["seen"].endswith("obeys conditional writes")
    assert found["MLflow"][0]["verdict"] == found["clock"][0]["verdict"] == "good"
    assert found["backbone"][0]["seen"].startswith("tiny: gslm 2 x 16")
    assert object_storage.list_files(bundles) == [PROBE]


@pytest.mark.usefixtures("s3")
def test_what_is_not_there_is_bad_and_all_of_it_is_told(job: Path) -> None:
    changes = ("backbone=nowhere", "bundles=s3://no-such-bucket-of-ours/x", "tracking=http://127.0.0.1:9")
    code, found = findings(str(job), *(part for change in changes for part in ("--set", change)))
    assert code == 1
    bad = {what for what, listed in found.items() for finding in listed if finding["verdict"] == "bad"}
    assert bad == {"backbone", "S3", "MLflow"}
    assert "(Connection refused)" in found["MLflow"][0]["seen"]


def test_a_store_that_ignores_conditions_is_bad(job: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyProxy(s3.service.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        proxy.faults = [Fault("ignore conditions", condition="if-match", times=None)]
        code, found = findings(str(job), "--set", f"bundles={s3.fresh_prefix()}")
    assert code == 1
    assert found["S3"][0]["verdict"] == "bad"
    assert "ignores If-Match" in found["S3"][0]["seen"]


@contextmanager
def server_of(date: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(404)
            self.send_header("Date", date)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_clock_that_is_wrong_is_bad() -> None:
    with server_of("Wed, 21 Oct 2015 07:28:00 GMT") as uri:
        found = doctor._clock(uri)
    assert found.verdict == "bad"
    assert f"s ahead of {uri}; set this machine's clock" in found.seen


def test_a_server_that_never_ends_its_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CLOCK_ANSWER_SECONDS", 0.3)
    with sending(lambda connection: drip(connection, HEAD + b"X-Long:")) as uri:
        found = doctor._clock(uri)
    assert (found.verdict, found.seen) == ("warning", f"{uri} did not send its time (no whole answer in time)")
