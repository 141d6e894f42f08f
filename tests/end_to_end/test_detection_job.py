"""A rare class detected in long recordings from few shots: what the job says of its prompt holds where it is used."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.fixtures.command_line import speechprompt
from tests.fixtures.varied_job import ALARM_CLIPS, SHOTS, Ran
from workers.bundle.read import find
from workers.evaluation.calibration import CalibrationError
from workers.evaluation.error_rates import ErrorRates
from workers.inference.classifier import Classifier

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_the_report_says_how_sure_it_is_and_what_was_cut(varied: Ran) -> None:
    row = varied.job.row("alarms")
    assert (row["metric"], row["positive"], row["shots"]) == ("eer", "alarm", SHOTS)
    assert row["examples"] == {"train": 2 * SHOTS, "valid": 16, "test": 20}
    assert (row["long"], row["long_policy"]) == (sum(2 * -(-count // 3) for count in ALARM_CLIPS.values()), "window")
    assert row["test"] == pytest.approx(np.mean([one.figures["test"]["eer"] for one in varied.job.outcomes("alarms")]))
    low, high = row["test_interval"]
    assert low <= row["test"] <= high
    assert len(row["temperatures"]) == 1
    assert "eer ↓" in speechprompt("results", str(varied.job.root / "job.yaml")).stdout


def test_the_lowest_error_rate_on_validation_is_published(varied: Ran) -> None:
    manifest = find(str(varied.job.root / "bundles/alarms")).manifest
    rates = [one.figures["valid"]["eer"] for one in varied.job.outcomes("alarms")]
    assert manifest.results["valid"]["eer"].value == min(rates)
    assert manifest.results["test"]["eer"].interval is not None
    assert (manifest.format_version, manifest.metric.positive, manifest.data.shots) == (4, "alarm", SHOTS)


def test_classified_recordings_have_the_published_figures(varied: Ran) -> None:
    uri = str(varied.job.root / "bundles/alarms")
    manifest = find(uri).manifest
    audio = sorted((varied.job.root / "tasks/audio").glob("test-*.wav"))
    answers = [answer for [answer] in Classifier.from_uris([uri]).classify_audio([str(path) for path in audio])]
    truth = np.array([path.name.split("-")[1] == "alarm" for path in audio])
    alarm = np.array([dict(zip(one.labels, one.probabilities, strict=True))["alarm"] for one in answers])
    confidence = np.array([one.probabilities[0] for one in answers])
    right = np.array([(one.label == "alarm") == is_alarm for one, is_alarm in zip(answers, truth, strict=True)])
    test = manifest.results["test"]
    assert ErrorRates(np.log(alarm / (1 - alarm)), truth).equal_error_rate() == pytest.approx(test["eer"].value)
    assert np.mean(right) == pytest.approx(test["accuracy"].value)
    assert CalibrationError(confidence, right)() == pytest.approx(test["ece"].value, abs=1e-3)


def test_the_command_line_abstains(varied: Ran) -> None:
    audio = str(varied.job.root / "tasks/audio/test-alarm-0.wav")
    bundle = str(varied.job.root / "bundles/alarms")
    done = speechprompt("classify", "--bundle", bundle, "--abstain-below", "1", "--json", audio)
    [first] = json.loads(done.stdout)["labels"]["alarms"]["label"]
    assert (first["label"], first["abstained"]) == (None, True)


def test_the_bundle_shows_its_calibration(varied: Ran) -> None:
    shown = speechprompt("bundle", "inspect", str(varied.job.root / "bundles/alarms")).stdout
    for part in ("temperature", "alarm", "95 %"):
        assert part in shown
