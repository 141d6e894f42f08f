"""A job that publishes the prompts of all seeds of a task as one bundle."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fixtures.tuning import toy_examples
from tests.fixtures.varied_job import Ran
from workers.backbone.directory import read_backbone
from workers.bundle.read import read
from workers.evaluation.calibration import softmax
from workers.inference.classifier import Classifier
from workers.tuning.results.class_scores import scores_together

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_all_seeds_are_published_together_and_judged_together(varied: Ran) -> None:
    row, outcomes = varied.job.row("choir"), varied.job.outcomes("choir")
    manifest = read(row["bundle"]).manifest
    assert manifest.prompt.members == (0, 1, 2)
    assert manifest.parameters == 3 * row["trained"]
    figure = manifest.results["test"]["accuracy"]
    assert figure.value == pytest.approx(row["ensemble"]["test"])
    assert figure.mean == pytest.approx(row["test"])
    assert list(manifest.temperatures) == row["temperatures"]
    compared = row["verdict"]["comparison"]
    scores = scores_together(str(varied.job.root / "runs/job/lanes"), outcomes)
    right = scores.answers(None).all_right.mean()
    assert right == pytest.approx(figure.value)
    assert compared["difference"] == pytest.approx(right - row["baselines"]["majority"]["test"])
    assert "(3 together)" in varied.done.stdout
    assert "(3 prompts together)" in varied.done.stdout


def test_the_bundle_answers_what_was_measured(varied: Ran) -> None:
    bundle = read(varied.job.row("choir")["bundle"])
    test = toy_examples([3]).splits["test"]
    frames = [test.units[row] for row in range(len(test))]
    units = [row[np.insert(row[1:] != row[:-1], 0, True)] for row in frames]
    answers = Classifier([bundle], read_backbone(str(varied.job.root / "backbone"))).classify_units(units)
    scores = scores_together(str(varied.job.root / "runs/job/lanes"), varied.job.outcomes("choir"))
    shares = softmax(scores.splits["test"].scores[0], bundle.manifest.temperatures[0])
    found = [dict(zip(answer.labels, answer.probabilities, strict=True)) for [answer] in answers]
    labels = bundle.manifest.slots[0].labels
    np.testing.assert_allclose([[row[label] for label in labels] for row in found], shares, rtol=1e-3, atol=1e-5)
