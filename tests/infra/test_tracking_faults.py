"""Tracking through a proxy that misbehaves, before a real MLflow server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.errors import TrackingError, TrackingUnreachable
from infra.local_cluster.service import Service
from infra.tracking import RunLog, Tracking, check
from infra.tracking.mlflow_client import client
from tests.fixtures.faulty_proxy import Fault, FaultyProxy

EVERY = 0.05
STEPS = 30


@pytest.fixture
def proxy(mlflow_server: Service) -> Iterator[FaultyProxy]:
    with FaultyProxy(mlflow_server.url) as made:
        yield made


@pytest.fixture
def experiment() -> str:
    return uuid.uuid4().hex[:12]


def log_steps(log: RunLog, start: int, stop: int) -> None:
    for step in range(start, stop):
        log.point(step, {"loss": 1 / (step + 1)})


def assert_whole(server: Service, experiment: str) -> Any:
    """One run, each of its points once and in order, its artifact and its end."""
    store = client(server.url)
    (run,) = store.search_runs([store.get_experiment_by_name(experiment).experiment_id])
    points = [(point.step, point.value) for point in store.get_metric_history(run.info.run_id, "loss")]
    assert points == [(step, 1 / (step + 1)) for step in range(STEPS)]
    assert [file.path for file in store.list_artifacts(run.info.run_id, "texts")] == ["texts/why.md"]
    assert run.info.status == "FINISHED"
    return run


def finish(log: RunLog) -> None:
    log.text("why.md", "patience")
    log.finish("FINISHED")


def test_a_server_down_at_the_start_in_the_middle_and_at_the_end_misses_nothing(
    proxy: FaultyProxy, mlflow_server: Service, experiment: str, tmp_path: Path
) -> None:
    with proxy.down():
        tracking = Tracking(proxy.url, tmp_path, interval=EVERY)
        log = tracking.run(experiment, "lane", key="k", params={"seed": 0})
        log_steps(log, 0, 10)
        assert tracking.flush(0.3).events
    assert tracking.flush().events == 0
    with proxy.down():
        log_steps(log, 10, 20)
        assert tracking.flush(0.3).events
    assert tracking.flush().events == 0
    with proxy.down():
        log_steps(log, 20, STEPS)
        finish(log)
        unsent = tracking.close(0.3)
        assert unsent.events == STEPS - 20 + 2
        assert "Connection refused" in str(unsent)
    Tracking(proxy.url, tmp_path, interval=EVERY).close()
    assert_whole(mlflow_server, experiment)


FAULTS = [
    Fault("answer", status=503, code="down", times=2),
    Fault("drop answer", method="POST", path="experiments/create"),
    Fault("drop answer", method="POST", path="runs/create"),
    Fault("drop answer", method="POST", path="runs/log-batch"),
    Fault("cut request", method="POST", path="runs/log-batch"),
    Fault("cut answer", method="POST"),
    Fault("drop answer", method="PUT", path="artifacts"),
    Fault("drop answer", method="POST", path="runs/update"),
]


def test_what_is_lost_on_the_way_is_sent_again_and_kept_once(
    proxy: FaultyProxy, mlflow_server: Service, experiment: str, tmp_path: Path
) -> None:
    proxy.faults = FAULTS
    with Tracking(proxy.url, tmp_path, interval=EVERY) as tracking:
        log = tracking.run(experiment, "lane", key="k", params={"seed": 0})
        log_steps(log, 0, STEPS)
        finish(log)
        unsent = tracking.flush(60)
    assert all(fault.met == fault.times for fault in FAULTS)
    assert (unsent.events, unsent.refused) == (0, 0)
    assert assert_whole(mlflow_server, experiment).data.params == {"seed": "0"}


def test_a_server_that_may_come_back_is_told_from_one_that_refuses(proxy: FaultyProxy) -> None:
    check(proxy.url)
    for status in (500, 503):
        proxy.faults = [Fault("answer", status=status, times=None)]
        with pytest.raises(TrackingUnreachable, match="cannot be used"):
            check(proxy.url)
    for status in (401, 403, 404):
        proxy.faults = [Fault("answer", status=status, times=None)]
        with pytest.raises(TrackingError) as refusal:
            check(proxy.url)
        assert not isinstance(refusal.value, TrackingUnreachable)
    with proxy.down(), pytest.raises(TrackingUnreachable, match="Connection refused"):
        check(proxy.url)
