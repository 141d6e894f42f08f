from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.evaluation.calibration import BINS, CalibrationError, best_temperature, softmax


def _drawn(
    seed: int, temperature: float, rows: int = 4000, classes: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores that are too sure by ``temperature``, and labels drawn by their true probabilities."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(rows, classes)).astype(np.float32) * 2
    labels = np.array([rng.choice(classes, p=shares) for shares in softmax(true)])
    return true * np.float32(temperature), labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_found(temperature: float) -> None:
    scores, labels = _drawn(0, temperature)
    found = best_temperature(scores, labels)
    assert found == pytest.approx(temperature, rel=0.1)
    losses = {
        by: float(torch.nn.functional.cross_entropy(torch.from_numpy(scores) / by, torch.from_numpy(labels)))
        for by in (found / 1.05, found, found * 1.05)
    }
    assert min(losses, key=lambda by: losses[by]) == found


def test_a_temperature_brings_confidence_to_accuracy() -> None:
    scores, labels = _drawn(1, 4.0)
    right = scores.argmax(axis=1) == labels

    def error(temperature: float) -> float:
        return CalibrationError(softmax(scores, temperature).max(axis=1), right)()

    assert error(1.0) > 0.2
    assert error(best_temperature(scores, labels)) < 0.03


def test_where_all_are_right_nothing_is_learnt() -> None:
    scores = np.array([[3, 1], [0, 2]], np.float32)
    assert best_temperature(scores, np.array([0, 1])) == 1.0
    assert best_temperature(scores * 1e30, np.array([1, 1])) == pytest.approx(20, rel=1e-3)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_the_error_is_that_of_its_definition(drawn: list[tuple[float, bool]]) -> None:
    confidence, right = np.array([share for share, _ in drawn]), np.array([hit for _, hit in drawn])
    total = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = (confidence * BINS > low * BINS) & (confidence * BINS <= high * BINS)
        if number == 0:
            inside |= confidence == 0
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert CalibrationError(confidence, right)() == pytest.approx(total, abs=1e-9)


def test_known_error() -> None:
    confidence, right = np.array([0.95, 0.95, 0.55, 0.52]), np.array([True, False, True, True])
    assert CalibrationError(confidence, right)() == pytest.approx((0.9 + (0.45 + 0.48)) / 4)
    assert CalibrationError(confidence, right)(np.array([1, 0, 0, 0.0])) == pytest.approx(0.05)
