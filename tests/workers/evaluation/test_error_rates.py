from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import det_curve

from tests.fixtures.tuning import lane_spec
from workers.evaluation.detection_files import DET_FILE, SCORES_FILE, detection_files
from workers.evaluation.error_rates import ErrorRates
from workers.evaluation.metrics import Predictions, measure

DRAWN = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40).filter(
    lambda drawn: len({positive for _, positive in drawn}) == 2
)


@settings(deadline=None)
@given(DRAWN)
def test_rates_are_those_of_scikit_learn(drawn: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([score for score, _ in drawn], float), np.array([kind for _, kind in drawn])
    curve = ErrorRates(scores, positive)
    misses, alarms = curve.rates()
    alarms_there, misses_there, thresholds = det_curve(positive, scores)
    # That curve leaves out thresholds beyond the first without, or with all, false alarms.
    places = np.searchsorted(curve.thresholds, thresholds)
    np.testing.assert_allclose(misses[places], misses_there, atol=1e-12)
    np.testing.assert_allclose(alarms[places], alarms_there, atol=1e-12)
    assert (misses[0], alarms[0], misses[-1], alarms[-1]) == (0, 1, 1, 0)


@given(DRAWN)
def test_either_class_may_be_the_positive_one(drawn: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([score for score, _ in drawn], float), np.array([kind for _, kind in drawn])
    rate = ErrorRates(scores, positive).equal_error_rate()
    assert ErrorRates(-scores, ~positive).equal_error_rate() == pytest.approx(rate)
    assert 0 <= rate <= 1


def test_known_rates() -> None:
    """One of four spoofs scores above one of two bona fide examples."""
    scores, positive = np.array([0.1, 0.2, 0.3, 0.6, 0.5, 0.9]), np.array([False, False, False, False, True, True])
    curve = ErrorRates(scores, positive)
    # From 0.5 on none of the positive ones is missed and a quarter of the others accepted; from 0.6 on half is missed.
    assert curve.equal_error_rate() == pytest.approx(((0 + 0.25) / 2 + (0.5 + 0.25) / 2) / 2)
    assert ErrorRates(scores, positive).equal_error_rate(np.array([1, 1, 1, 3, 1, 1.0])) == pytest.approx(0.5)
    assert ErrorRates(np.zeros(6), positive).equal_error_rate() == 0.5
    assert np.isnan(curve.equal_error_rate(np.array([1, 1, 1, 1, 0, 0.0])))


def test_the_score_of_a_detector_is_the_log_odds_of_the_positive_class() -> None:
    scores = np.array([[2, 1], [0, 3], [5, 5]], np.float32)
    predictions = Predictions([scores], np.array([[0], [1], [0]]))
    spec = lane_spec((2,))
    files = detection_files(predictions, spec.slots[0].labels, positive=1)
    assert files[SCORES_FILE].decode().splitlines() == ["label\tscore", "class0\t-1", "class1\t3", "class0\t0"]
    assert files[DET_FILE].decode().splitlines() == [
        "threshold\tmiss_rate\tfalse_alarm_rate",
        "-1\t0\t1",
        "0\t0\t0.5",
        "3\t0\t0",
        "inf\t1\t0",
    ]
    assert measure(predictions, positive=1)["eer"] == 0
