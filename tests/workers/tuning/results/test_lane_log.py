from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from infra.tracking import RunLog
from infra.tracking.event import Header
from infra.tracking.journal import Journal
from tests.fixtures.allocation import allocating_at_most
from tests.fixtures.tuning import lane_spec, make_lane, tiny_lm
from workers.evaluation.metrics import Predictions
from workers.evaluation.unit_use import UnitUse
from workers.tuning.results.mlflow_columns import (
    LOSS_POINTS,
    TOP_UNITS,
    log_begin,
    log_evaluation,
    log_outcome,
    log_unit_use,
)
from workers.tuning.results.outcome import LaneOutcome
from workers.tuning.results.unit_use_file import LaneUnitUse
from workers.tuning.step.gang import Evaluation
from workers.tuning.step.lane import Lane


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """What a run log writes, before anything of it is sent."""
    journal = Journal(tmp_path / "run", Header("experiment", "lane", "key", None))
    yield journal
    journal.close()


def _log(journal: Journal) -> RunLog:
    return RunLog(journal, wake=lambda: None)


def _events(journal: Journal) -> list[Any]:
    return [entry.event for entry in journal.read(0) if not isinstance(entry.event, bytes)]


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_run_begins_with_the_test_metric_not_yet_a_number(journal: Journal, metric: str) -> None:
    log_begin(_log(journal), make_lane(tiny_lm(), metric=metric))
    [event] = _events(journal)
    assert (event.step, list(event.values)) == (0, [f"test/{metric}"])
    assert math.isnan(float(event.values[f"test/{metric}"]))


@pytest.mark.parametrize("steps", [1, 3, 10, 25])
def test_an_evaluation_becomes_curves(journal: Journal, steps: int) -> None:
    losses = [(100 + step, float(step)) for step in range(1, steps + 1)]
    log_evaluation(_log(journal), Evaluation(100 + steps, losses, 0.02, {"accuracy": 0.5, "loss": 2.0}, True))
    *points, last = _events(journal)
    assert len(points) == min(steps, LOSS_POINTS)
    assert [point.values.keys() for point in points] == [{"tuning/train_loss"}] * len(points)
    assert points[-1].step == last.step == 100 + steps
    assert last.values == {"tuning/valid_accuracy": 0.5, "tuning/valid_loss": 2.0, "tuning/learning_rate": 0.02}
    # Every step is in exactly one mean, at the last of its steps.
    ends = [100, *(point.step for point in points)]
    for first, end, point in zip(ends, ends[1:], points, strict=False):
        assert point.values["tuning/train_loss"] == pytest.approx((first + 1 + end) / 2 - 100)


def test_a_loss_that_is_not_finite_is_shown(journal: Journal) -> None:
    log_evaluation(_log(journal), Evaluation(1, [(1, math.nan)], 0.02, {"loss": math.nan}, False))
    assert math.isnan(float(_events(journal)[0].values["tuning/train_loss"]))


def test_an_outcome_becomes_figures_and_confusion_matrices(journal: Journal) -> None:
    lane = make_lane(tiny_lm(), (3, 2), batch_size=8)
    outcome = LaneOutcome(
        key="key",
        spec=lane.spec,
        lm_fingerprint="a" * 64,
        stopped="patience",
        steps=50,
        best_step=30,
        figures={"valid": {"accuracy": 0.75}, "test": {"accuracy": 0.5, "loss": 1.5}},
        trained=lane.shape.size,
        special_rows=0,
        mapped_units=None,
        seconds=4.0,
    )
    test = Predictions(
        [np.eye(3, dtype=np.float32)[[0, 0, 2]], np.eye(2, dtype=np.float32)[[1, 1, 1]]],
        np.array([[0, 1], [1, 1], [2, 0]]),
    )
    log_outcome(_log(journal), lane, outcome, test)
    point, tags, *artifacts = _events(journal)
    assert point.step == 30
    assert point.values == {
        "valid/accuracy": 0.75,
        "test/accuracy": 0.5,
        "test/loss": 1.5,
        "tuning/steps": 50,
        "tuning/seconds": 4.0,
        "tuning/utterances_per_second": 100.0,
    }
    assert tags.values == {"stopped": "patience", "best_step": "30", "restarts": "0", "error": ""}
    kept = {event.path: (journal.directory / "files" / event.file).read_bytes() for event in artifacts}
    assert sorted(kept) == [
        "figures/confusion_slot1.png",
        "figures/confusion_slot2.png",
        "tables/confusion_slot1.json",
        "tables/confusion_slot2.json",
    ]
    assert json.loads(kept["tables/confusion_slot1.json"]) == {
        "columns": ["label", "predicted", "count"],
        "data": [["class0", "class0", 1], ["class1", "class0", 1], ["class2", "class2", 1]],
    }
    assert json.loads(kept["tables/confusion_slot2.json"])["data"] == [["class0", "class1", 1], ["class1", "class1", 2]]


def test_a_detector_is_drawn_and_intervals_and_temperatures_are_figures(journal: Journal) -> None:
    lane = make_lane(tiny_lm(), (2,), metric="eer", positive="class1")
    outcome = LaneOutcome(
        key="key",
        spec=lane.spec,
        lm_fingerprint="a" * 64,
        stopped="steps",
        steps=9,
        best_step=9,
        figures={"test": {"eer": 0.25}},
        temperatures=[1.5],
        intervals={"eer": (0.2, 0.3), "accuracy": (0.7, 0.8)},
        trained=lane.shape.size,
        special_rows=0,
        mapped_units=None,
        seconds=1.0,
    )
    scores = np.array([[0, 1], [1, 0], [0, 2], [2, 0]], np.float32)
    log_outcome(_log(journal), lane, outcome, Predictions([scores], np.array([[1], [0], [0], [1]])))
    point, _, *artifacts = _events(journal)
    logged = {name: value for name, value in point.values.items() if not name.startswith("tuning/")}
    assert logged == {
        "test/eer": 0.25,
        "test/eer_low": 0.2,
        "test/eer_high": 0.3,
        "calibration/temperature_slot1": 1.5,
    }
    assert "figures/det.png" in {event.path for event in artifacts}


def test_unit_use_becomes_a_picture_and_a_table_of_each_slot(journal: Journal) -> None:
    importance = np.arange(TOP_UNITS + 4.0)[None].repeat(3, axis=0)
    use = LaneUnitUse([UnitUse(importance, -importance)], np.arange(TOP_UNITS + 4) - 4)
    log_unit_use(_log(journal), lane_spec((3,)), use)
    kept = {event.path: (journal.directory / "files" / event.file).read_bytes() for event in _events(journal)}
    assert sorted(kept) == ["figures/unit_use_slot1.png", "tables/unit_use_slot1.json"]
    table = json.loads(kept["tables/unit_use_slot1.json"])
    assert table["columns"] == ["label", "unit", "importance", "own"]
    assert len(table["data"]) == 3 * TOP_UNITS
    assert table["data"][TOP_UNITS] == ["class1", str(TOP_UNITS - 1), TOP_UNITS + 3.0, -TOP_UNITS - 3.0]


def test_thousands_of_labels_are_a_table_without_a_picture(journal: Journal) -> None:
    spec = lane_spec((5000,))
    lane = cast("Lane", SimpleNamespace(spec=spec))
    outcome = LaneOutcome(
        key="key",
        spec=spec,
        lm_fingerprint="a" * 64,
        stopped="steps",
        steps=9,
        best_step=9,
        figures={},
        trained=1,
        special_rows=0,
        mapped_units=None,
        seconds=1.0,
    )
    scores = np.zeros((2, 5000), np.float32)
    with allocating_at_most(16 << 20):
        log_outcome(_log(journal), lane, outcome, Predictions([scores], np.array([[4999], [0]])))
    _, _, artifact = _events(journal)
    assert artifact.path == "tables/confusion_slot1.json"
    table = json.loads((journal.directory / "files" / artifact.file).read_bytes())
    assert table["data"] == [["class0", "class0", 1], ["class4999", "class0", 1]]
