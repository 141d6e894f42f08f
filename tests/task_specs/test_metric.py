"""What the metric and the bootstrap of a task ask of its data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from task_specs.dataset import read_dataset
from task_specs.metric import METRICS, lower_is_better
from tests.task_specs.files import Rows, delimited, spec, texts

DETECTION: Rows = [
    {"units": f"{number} 9", "label": label, "split": split, "speaker": "ann"}
    for number, (split, label) in enumerate(
        (split, label) for split in ("train", "valid", "test") for label in ("bonafide", "spoof")
    )
]


def _texts(directory: Path, rows: Rows, **fields: Any) -> list[str]:
    (directory / "data.csv").write_text(delimited(rows))
    return texts(spec(directory, data={"path": "data.csv"}, **fields), directory)


def test_a_detection_task_is_sound(tmp_path: Path) -> None:
    assert _texts(tmp_path, DETECTION, metric="eer", positive="bonafide", bootstrap="speakers") == []
    loaded = spec(tmp_path, data={"path": "data.csv"}, metric="eer", positive="bonafide")
    assert read_dataset(loaded).labels == (("bonafide", "spoof"),)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            DETECTION,
            "'genuine' must be one of two classes, but train has 'bonafide', 'spoof'; name one of",
        ),
        ([*DETECTION, {**DETECTION[0], "label": "noise"}], "'genuine' must be one of two classes, but train has 'bon"),
    ],
)
def test_the_positive_class_is_one_of_two(tmp_path: Path, rows: Rows, message: str) -> None:
    [found] = _texts(tmp_path, rows, positive="genuine")
    assert found.startswith(f"task.yaml: positive: {message}")


def test_every_split_can_tell_how_well_it_is_detected(tmp_path: Path) -> None:
    rows = [row for row in DETECTION if (row["split"], row["label"]) != ("valid", "spoof")]
    assert _texts(tmp_path, rows, metric="f1", positive="bonafide") == [
        "task.yaml: positive: no example of 'spoof' belongs to the split valid; add some, or remove 'positive'"
    ]


def test_who_draws_speakers_knows_those_of_test(tmp_path: Path) -> None:
    rows = [{**row, "speaker": "" if row["split"] != "valid" else "bob"} for row in DETECTION]
    found = _texts(tmp_path, rows, bootstrap="speakers")
    assert found == [
        f"data.csv:{line}: speaker: is empty, but the bootstrap draws speakers; fill it in, or set bootstrap to "
        "utterances"
        for line in (6, 7)
    ]


def test_more_is_better() -> None:
    assert METRICS["accuracy"].score(0.9) > METRICS["accuracy"].score(0.8)
    assert METRICS["eer"].score(0.1) > METRICS["eer"].score(0.2)
    assert [name for name in (*METRICS, "", "of somebody else") if lower_is_better(name)] == ["eer"]
    for metric in METRICS.values():
        assert metric.score(math.nan) < min(metric.score(0.0), metric.score(1.0))
