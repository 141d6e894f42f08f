"""Who is said to be at fault when points wait, and that it is said once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from infra.tracking.event import Header, Point
from infra.tracking.journal import Journal, SpoolError
from infra.tracking.mlflow_store import MLflowStore
from infra.tracking.outage import Outage
from infra.tracking.progress import Sent


def test_a_full_spool_is_no_fault_of_the_store(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(disk / "run", Header("e", "lane", "k", None))
    journal.append(Point(1, {"loss": 0.5}))
    (disk / "fill").write_bytes(bytes(200 << 10))
    outage, failed = Outage(MLflowStore, "http://mlflow:5000", disk), 0
    with (disk / "rest").open("wb", buffering=0) as rest:
        while not failed:
            try:
                rest.write(bytes(4096))
            except OSError:
                failed += 1
    for _ in range(2):
        with pytest.raises(SpoolError) as full:
            journal.save(Sent(offset=1))
        outage.meets(journal.directory, full.value)
    (disk / "fill").unlink()
    journal.save(Sent(offset=1))
    outage.spares(journal.directory)
    journal.close()
    begin, end = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert begin.startswith("the tracking spool cannot be used (No space left on device); what is not sent is kept in ")
    assert end == "the tracking spool is back"


def test_a_store_that_does_not_answer_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(MLflowStore, "http://user:secret@mlflow:5000", tmp_path)
    outage.meets(tmp_path / "a", ConnectionError("[Errno 111] Connection refused"))
    outage.meets(tmp_path / "b", ConnectionError("[Errno 111] Connection refused"))
    outage.spares(tmp_path / "a")
    assert outage.reason == "Connection refused"
    outage.spares(tmp_path / "b")
    begin, end = [record.getMessage() for record in caplog.records]
    assert begin.startswith("MLflow at http://")
    assert "(Connection refused)" in begin
    assert end.endswith("is back")
    assert "secret" not in begin + end
