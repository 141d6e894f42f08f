"""The trainable by itself, as Ray Tune calls it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.tune.result import DONE

import workers.tuning.results.lane_results
from infra.json_log import ROOT, log_fields
from tests.fixtures.gang_bench import SHARED, Bench
from tests.fixtures.orders import gang_order
from workers.tuning.orders import LaneOrder
from workers.tuning.results.outcome import read_outcome
from workers.tuning.run.progress import GangReport
from workers.tuning.run.status import read_status
from workers.tuning.run.trainable import REPORT, GangTrainable


class LocalTrainable(GangTrainable):
    """Without Ray's object store."""

    def setup(self, config: dict[str, Any], **_: Any) -> None:
        super().setup(config, shared=SHARED)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a CPU, with an MLflow for which nobody waits, and with the loggers of these tests in the end."""
    logger = logging.getLogger(ROOT)
    before = logger.handlers, logger.level, logger.propagate
    monkeypatch.setattr(ray, "get_gpu_ids", list)
    monkeypatch.setattr(workers.tuning.results.lane_results, "MLFLOW_SECONDS", 0.0)
    monkeypatch.setattr(LocalTrainable, "cleanup", lambda _: None)
    yield
    logger.handlers, logger.level, logger.propagate = before
    log_fields()


def order(root: Path, lanes: list[LaneOrder], **fields: Any) -> dict[str, Any]:
    places = {"tracking": "http://127.0.0.1:9", "spool": str(root / "spool")}
    gang = gang_order(lanes, str(root / "lanes"), **places, **fields)
    return {"gang": gang.model_dump(mode="json")}


def step(trainable: GangTrainable) -> tuple[bool, GangReport]:
    """Whether the gang is done, and its report."""
    result = trainable.step()
    return result[DONE], GangReport(**result[REPORT])


@pytest.mark.usefixtures("in_process")
def test_it_tunes_a_gang_tells_its_status_and_goes_on_where_another_stopped(bench: Bench, tmp_path: Path) -> None:
    lanes = [bench.lane("one", steps=12), bench.lane("two", seed=1, steps=12)]
    trainable = LocalTrainable(order(tmp_path, lanes))
    done, report = step(trainable)
    assert (report.lane_steps, report.width, done) == (6, 2, False)
    checkpoint = tmp_path / "trial" / "checkpoint_000000"
    checkpoint.mkdir(parents=True)
    trainable.save_checkpoint(str(checkpoint))
    status = read_status(str(tmp_path / "status" / "gang000-toy.json"))
    assert [(lane.lane, lane.state, lane.step) for lane in status.lanes] == [("one", "tuning", 3), ("two", "tuning", 3)]
    # The actor is given one of the lanes alone, as if another actor had died with both.
    assert trainable.reset_config(order(tmp_path, lanes[1:], began_in=str(tmp_path / "trial")))
    done, report = step(trainable)
    assert report.lane_steps == 6
    while not done:
        done, report = step(trainable)
    outcome = read_outcome(str(tmp_path / "lanes"), "two")
    assert outcome is not None
    assert (outcome.error, outcome.steps) == (None, 12)
    assert read_outcome(str(tmp_path / "lanes"), "one") is None
