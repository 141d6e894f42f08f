"""A rare class detected in long recordings from few shots: what the job says of its prompt holds where it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.command_line import speechprompt
from tests.fixtures.outcomes import stored_outcomes
from tests.fixtures.tiny_job import write_task, write_yaml
from tests.fixtures.tones import tone, write_audio
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.bundle.read import find
from workers.evaluation.calibration import CalibrationError
from workers.evaluation.error_rates import ErrorRates
from workers.inference.classifier import Classifier
from workers.tuning.results.outcome import LaneOutcome

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

CLIPS = {"train": 14, "valid": 8, "test": 10}
SHOTS = 5


def write_alarms(tasks: Path) -> None:
    """Tones of which the alarms are the higher ones, mostly; a third is longer than a window."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for split, count in CLIPS.items():
        for label, hertz in {"alarm": 1500, "noise": 700}.items():
            for number in range(count):
                file = f"audio/{split}-{label}-{number}.wav"
                seconds = 0.7 if number % 3 == 0 else 0.3
                wave = tone(rng.normal(hertz, 400), seconds)
                wave += 0.2 * rng.standard_normal(len(wave)).astype(np.float32)
                write_audio(tasks / file, wave.astype(np.float32))
                rows.append({"path": file, "label": label, "split": split, "speaker": f"{split}{number % 5}"})
    write_task(
        tasks,
        "alarms",
        rows,
        family="FSD",
        metric="eer",
        positive="alarm",
        bootstrap="speakers",
        shots=SHOTS,
        seeds=2,
        audio={"max_seconds": 0.4, "too_long": "window"},
        recipe={"balance": "sampling"},
    )


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("alarms")
    write_backbone(tiny_backbone(), str(root / "backbone"))
    write_alarms(root / "tasks")
    write_yaml(root / "job.yaml", {"backbone": "backbone", "tasks": "tasks/*.yaml", "precision": "fp32"})
    done = speechprompt("run", str(root / "job.yaml"))
    assert done.code == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def outcomes(workplace: Path) -> list[LaneOutcome]:
    return stored_outcomes(workplace / "runs/job/lanes")


def test_the_report_says_how_sure_it_is_and_what_was_cut(workplace: Path, outcomes: list[LaneOutcome]) -> None:
    shown = speechprompt("results", str(workplace / "job.yaml"), "--json")
    [row] = json.loads(shown.stdout)["tasks"]
    assert (row["metric"], row["positive"], row["shots"]) == ("eer", "alarm", SHOTS)
    assert row["examples"] == {"train": 2 * SHOTS, "valid": 16, "test": 20}
    assert (row["long"], row["long_policy"]) == (sum(2 * -(-count // 3) for count in CLIPS.values()), "window")
    assert row["test"] == pytest.approx(np.mean([one.figures["test"]["eer"] for one in outcomes]))
    low, high = row["test_interval"]
    assert low <= row["test"] <= high
    assert len(row["temperatures"]) == 1
    assert "eer ↓" in speechprompt("results", str(workplace / "job.yaml")).stdout


def test_the_lowest_error_rate_on_validation_is_published(workplace: Path, outcomes: list[LaneOutcome]) -> None:
    manifest = find(str(workplace / "bundles/alarms")).manifest
    rates = [one.figures["valid"]["eer"] for one in outcomes]
    assert manifest.results["valid"]["eer"].value == min(rates)
    assert manifest.results["test"]["eer"].interval is not None
    assert (manifest.format_version, manifest.metric.positive, manifest.data.shots) == (3, "alarm", SHOTS)


def test_classified_recordings_have_the_published_figures(workplace: Path) -> None:
    uri = str(workplace / "bundles/alarms")
    manifest = find(uri).manifest
    audio = sorted((workplace / "tasks/audio").glob("test-*.wav"))
    answers = [answer for [answer] in Classifier.from_uris([uri]).classify_audio([str(path) for path in audio])]
    truth = np.array([path.name.split("-")[1] == "alarm" for path in audio])
    alarm = np.array([dict(zip(one.labels, one.probabilities, strict=True))["alarm"] for one in answers])
    confidence = np.array([one.probabilities[0] for one in answers])
    right = np.array([(one.label == "alarm") == is_alarm for one, is_alarm in zip(answers, truth, strict=True)])
    test = manifest.results["test"]
    assert ErrorRates(np.log(alarm / (1 - alarm)), truth).equal_error_rate() == pytest.approx(test["eer"].value)
    assert np.mean(right) == pytest.approx(test["accuracy"].value)
    assert CalibrationError(confidence, right)() == pytest.approx(test["ece"].value, abs=1e-3)


def test_the_command_line_abstains(workplace: Path) -> None:
    audio = str(workplace / "tasks/audio/test-alarm-0.wav")
    command = ("classify", "--bundle", str(workplace / "bundles/alarms"), "--abstain-below", "1", "--json", audio)
    [first] = json.loads(speechprompt(*command).stdout)["labels"]["alarms"]["label"]
    assert (first["label"], first["abstained"]) == (None, True)


def test_the_bundle_shows_its_calibration(workplace: Path) -> None:
    shown = speechprompt("bundle", "inspect", str(workplace / "bundles/alarms")).stdout
    for part in ("temperature", "alarm", "95 %"):
        assert part in shown
