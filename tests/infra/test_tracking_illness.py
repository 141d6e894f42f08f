"""A database that is corrupted, locked, read-only, full and slow in turn: every point is in the mended store, once."""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local_cluster.service import Service
from infra.tracking import RunLog, Tracking
from infra.tracking.mlflow_client import client
from tests.fixtures.faulty_proxy import Fault, FaultyProxy
from tests.fixtures.ill_database import corrupted, full, locked, read_only
from tests.fixtures.small_disk import small_disk

EVERY = 0.05
STEPS = 10
"""Points that are logged in each state."""


@pytest.fixture
def place(tmp_path: Path, empty_store: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", empty_store.stat().st_size + (4 << 20)) as disk:
        shutil.copyfile(empty_store, disk / "mlflow.db")
        yield disk


class Lane:
    """A run that logs some points at a time, and knows how many there are."""

    def __init__(self, tracking: Tracking, experiment: str) -> None:
        self.log: RunLog = tracking.run(experiment, "lane", key="k", params={"seed": 0})
        self.steps = 0

    def go_on(self) -> None:
        for step in range(self.steps, self.steps + STEPS):
            self.log.point(step, {"loss": 1 / (step + 1)})
        self.steps += STEPS

    def assert_whole(self, uri: str, experiment: str) -> None:
        store = client(uri)
        [run] = store.search_runs([store.get_experiment_by_name(experiment).experiment_id])
        points = Counter((point.step, point.value) for point in store.get_metric_history(run.info.run_id, "loss"))
        assert points == Counter((step, 1 / (step + 1)) for step in range(self.steps))
        assert run.info.status == "FINISHED"


def test_a_database(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    database = place / "mlflow.db"
    uri = f"sqlite:///{database}"
    with caplog.at_level(logging.WARNING), Tracking(uri, tmp_path / "spool", interval=EVERY) as tracking:
        lane = Lane(tracking, "ill")
        for illness, said in (
            (corrupted(database), "database disk image is malformed"),
            # For which MLflow waits longer than a test may.
            (locked(database), ""),
            (read_only(place), "readonly database"),
            (full(place), "database or disk is full"),
        ):
            lane.go_on()
            assert tracking.flush().events == 0
            with illness:
                lane.go_on()
                assert tracking.flush(0.3).events == STEPS
                while said not in (tracking.unsent().reason or ""):
                    time.sleep(EVERY)
        lane.log.finish("FINISHED")
        unsent = tracking.flush()
        assert (unsent.events, unsent.refused) == (0, 0)
    lane.assert_whole(uri, "ill")
    lines = [record.getMessage() for record in caplog.records]
    assert [("cannot be used" in line, "is back" in line) for line in lines] == [(True, False), (False, True)] * (
        len(lines) // 2
    )
    assert len(lines) <= 8
    assert "Traceback" not in capfd.readouterr().err


def test_a_server(mlflow_server: Service, mlflow_database: Path, tmp_path: Path) -> None:
    with (
        FaultyProxy(mlflow_server.url) as proxy,
        Tracking(proxy.url, tmp_path / "spool", interval=EVERY) as tracking,
    ):
        lane = Lane(tracking, "ill")
        lane.go_on()
        assert tracking.flush().events == 0
        for illness in (corrupted(mlflow_database), locked(mlflow_database)):
            with illness:
                lane.go_on()
                assert tracking.flush(0.3).events == STEPS
            lane.go_on()
            assert tracking.flush().events == 0
        proxy.faults = [Fault("delay", seconds=0.1, times=None)]
        lane.go_on()
        lane.log.finish("FINISHED")
        unsent = tracking.flush()
        assert (unsent.events, unsent.refused) == (0, 0)
    lane.assert_whole(mlflow_server.url, "ill")


def test_a_database_that_is_mended_by_an_older_copy(place: Path, tmp_path: Path) -> None:
    database = place / "mlflow.db"
    uri = f"sqlite:///{database}"
    with Tracking(uri, tmp_path / "spool", interval=EVERY) as tracking:
        lane = Lane(tracking, "older")
        lane.go_on()
        assert tracking.flush().events == 0
        shutil.copyfile(database, tmp_path / "older.db")
        lane.go_on()
        assert tracking.flush().events == 0
        with corrupted(database):
            lane.go_on()
            assert tracking.flush(0.3).events == STEPS
            shutil.copyfile(tmp_path / "older.db", database.with_name("whole.db"))
        lane.log.finish("FINISHED")
        assert tracking.flush().events == 0
    lane.assert_whole(uri, "older")
