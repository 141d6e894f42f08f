"""What operators are told of a gang."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workers.tuning.run.watch
from infra.errors import StorageError
from infra.json_log import log_fields
from tests.fixtures.orders import gang_order
from tests.fixtures.tuning import lane_spec
from workers.tuning.orders import GangOrder, LaneOrder
from workers.tuning.run.status import LaneStatus, Standing, read_status
from workers.tuning.run.watch import GangWatch, Gauges

GAUGES = Gauges()


@pytest.fixture(autouse=True)
def _fields() -> Iterator[None]:
    yield
    log_fields()


def order(root: Path) -> GangOrder:
    lanes = [LaneOrder(key=f"key{n}", spec=lane_spec(seed=n), run_name=f"toy s{n}", params={}) for n in range(2)]
    return gang_order(lanes, str(root / "lanes"), parent_key="job/now")


def watch(root: Path) -> GangWatch:
    return GangWatch(order(root), device="cpu", gauges=GAUGES, frozen=1000)


def report(watching: GangWatch, lanes: list[LaneStatus], *, done: bool, unsent: int) -> None:
    watching.report(lanes, width=2, done=done, unsent=unsent)


def lane(name: str, state: Standing, **more: Any) -> LaneStatus:
    return LaneStatus(lane=name, task="toy", state=state, steps=9, metric="accuracy", **{"step": 0, **more})


def test_the_file_says_where_every_lane_is_and_when_the_gang_was_saved(tmp_path: Path) -> None:
    watching, file = watch(tmp_path), str(tmp_path / "status" / "gang000-toy.json")
    report(watching, [lane("toy s0", "tuning", step=3, value=0.5), lane("toy s1", "waiting")], done=False, unsent=2)
    first = read_status(file)
    assert [(found.lane, found.state, found.step, found.value) for found in first.lanes] == [
        ("toy s0", "tuning", 3, 0.5),
        ("toy s1", "waiting", 0, None),
    ]
    assert (first.submission, first.checkpoint, first.done) == ("job/now", None, False)
    watching.saved()
    report(watching, [lane("toy s0", "ended", step=9), lane("toy s1", "failed", error="no")], done=True, unsent=0)
    last = read_status(file)
    assert last.checkpoint is not None
    assert last.since == first.since <= last.checkpoint <= last.updated
    assert (last.done, last.lanes[1].error) == (True, "no")


def test_a_lane_that_only_takes_steps_does_not_write_the_file_each_time(tmp_path: Path) -> None:
    watching, file = watch(tmp_path), tmp_path / "status" / "gang000-toy.json"
    report(watching, [lane("toy s0", "tuning", step=1)], done=False, unsent=0)
    before = file.read_bytes()
    report(watching, [lane("toy s0", "tuning", step=2)], done=False, unsent=0)
    assert file.read_bytes() == before


def test_lanes_that_turn_are_logged_with_their_task_and_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "speechprompt.gang")
    watching = watch(tmp_path)
    for step in (0, 1):
        report(watching, [lane("toy s0", "tuning", step=step), lane("toy s1", "waiting")], done=False, unsent=0)
    report(
        watching,
        [lane("toy s0", "tuning", step=3, value=0.5), lane("toy s1", "failed", error="no")],
        done=False,
        unsent=0,
    )
    said = [(record.message, record.__dict__.get("lane"), record.__dict__.get("step")) for record in caplog.records]
    assert said == [
        ("took up a gang", None, None),
        ("lane tuning", "toy s0", 0),
        ("lane tuning", "toy s0", 3),
        ("lane failed", "toy s1", 0),
    ]
    assert (caplog.records[2].__dict__["accuracy"], caplog.records[3].__dict__["error"]) == (0.5, "no")


def test_a_status_that_cannot_be_written_is_told_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(workers.tuning.run.watch, "write_status", refuse)
    watching = watch(tmp_path)
    for state in ("waiting", "tuning", "ended"):
        report(watching, [lane("toy s0", state)], done=False, unsent=0)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["the status cannot be written: the disk is full"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"gang": "' + b"x" * 1000])
def test_a_file_that_is_no_status_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"x\.json is .*; delete it"):
        read_status(str(tmp_path / "x.json"))
