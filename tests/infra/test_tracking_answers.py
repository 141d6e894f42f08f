"""Answers of what is no MLflow server, or no longer: they end, are short when shown, and nothing is lost by them."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import infra.tracking.bounded_http as bounded_http
from infra.errors import TrackingError, TrackingUnreachable
from infra.local_cluster.service import Service
from infra.tracking import Tracking, check
from infra.tracking.mlflow_client import client
from tests.fixtures.answering import HEAD, Answering, drip, sending
from tests.fixtures.faulty_proxy import Fault, FaultyProxy


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200",
        HEAD + b"X-Long:",
        HEAD + b"Content-Length: 1000000\r\n\r\n",
        HEAD + b"\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_an_answer_that_never_ends_is_given_up(beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    # The function hides the module of its name.
    monkeypatch.setattr(import_module("infra.tracking.check"), "CHECK_SECONDS", 0.3)
    with sending(lambda connection: drip(connection, beginning)) as url:
        began = time.monotonic()
        with pytest.raises(TrackingUnreachable, match="no whole answer in time"):
            check(url)
        assert time.monotonic() - began < 60


def test_an_answer_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "ANSWER_BYTES", 3 << 20)

    def flood(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n")
        while True:
            connection.sendall(bytes(1 << 16))

    with sending(flood) as url, pytest.raises(TrackingError, match="does not answer as an MLflow server"):
        check(url)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "{}"),
        (200, ""),
        (200, '{"experiments": [{"name": "Default"}]}'),
        (200, '{"run": {"info": {}}}'),
        (200, "\x1b]0;owned\x07\x1b[31m" * 100_000),
        (418, "\x1b]0;owned\x07\u202e" * 100_000),
        (400, '{"error_code": "BAD_REQUEST", "message": "\\u001b[31m' + "x" * 1_000_000 + '"}'),
    ],
)
def test_another_service_is_refused_in_few_safe_characters(answering: Answering, status: int, body: str) -> None:
    answering.answers(status, body)
    with pytest.raises(TrackingError) as refused:
        check(answering.url, experiment="e")
    said = str(refused.value)
    assert said.isprintable()
    assert len(said) < 400
    assert status != 200 or "(it does not answer as an MLflow server does)" in said


@pytest.fixture
def proxy(mlflow_server: Service) -> Iterator[FaultyProxy]:
    with FaultyProxy(mlflow_server.url) as made:
        yield made


def test_what_another_service_takes_in_its_place_is_not_lost(
    proxy: FaultyProxy, mlflow_server: Service, answering: Answering, tmp_path: Path
) -> None:
    answering.answers(200, "{}")
    real = proxy._upstream
    other = answering.url.rpartition(":")[2]
    with Tracking(proxy.url, tmp_path, interval=0.05) as tracking:
        log = tracking.run("swapped", "lane", key="k")
        log.point(0, {"loss": 1.0})
        assert tracking.flush().events == 0
        proxy._upstream = ("127.0.0.1", int(other))
        log.point(1, {"loss": 0.5})
        log.text("why.md", "patience")
        log.finish("FINISHED")
        assert tracking.flush(0.5).events == 3
        new = tracking.run("swapped", "new", key="new")
        new.point(0, {"loss": 1.0})
        assert tracking.flush(0.5).events == 4
        proxy._upstream = real
        assert tracking.flush().events == 0
    store = client(mlflow_server.url)
    found = store.search_runs([store.get_experiment_by_name("swapped").experiment_id])
    assert sorted((run.info.run_name, run.info.status) for run in found) == [("lane", "FINISHED"), ("new", "RUNNING")]
    for run in found:
        points = {point.step for point in store.get_metric_history(run.info.run_id, "loss")}
        assert points == ({0, 1} if run.info.run_name == "lane" else {0})


def test_artifacts_that_no_store_takes_hold_up_nothing_else(
    proxy: FaultyProxy, mlflow_server: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.faults = [Fault("answer", status=500, method="PUT", path="artifacts", times=None)]
    with caplog.at_level(logging.WARNING), Tracking(proxy.url, tmp_path, interval=0.05) as tracking:
        for lane in range(3):
            log = tracking.run("no artifacts", f"lane {lane}", key=f"l{lane}")
            log.text("why.md", "first")
            log.text("why.md", "second")
            log.point(0, {"loss": 1.0})
            log.finish("FINISHED")
        deadline = time.monotonic() + 30
        while tracking.unsent().events > 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        unsent = tracking.unsent()
        assert (unsent.events, unsent.refused) == (6, 0)
        assert len(caplog.records) == 1
        proxy.faults = []
    store = client(mlflow_server.url)
    found = store.search_runs([store.get_experiment_by_name("no artifacts").experiment_id])
    assert [run.info.status for run in found] == ["FINISHED"] * 3
    for run in found:
        text = store.download_artifacts(run.info.run_id, "texts/why.md", str(tmp_path))
        assert Path(text).read_text(encoding="utf-8") == "second"
