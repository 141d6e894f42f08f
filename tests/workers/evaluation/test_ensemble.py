"""What several prompts say together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from workers.evaluation.calibration import softmax
from workers.evaluation.ensemble import predictions_together, together
from workers.evaluation.metrics import Predictions

SCORES = st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(2, 5)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-200, 200, width=32))
)


@given(SCORES)
def test_probabilities_are_averaged(scores: NDArray[np.float32]) -> None:
    found = softmax(together(scores))
    np.testing.assert_allclose(found, np.mean([softmax(member) for member in scores], axis=0), rtol=1e-4, atol=1e-30)
    # What a member adds to the scores of all classes alike means nothing.
    moved = scores + np.arange(len(scores), dtype=np.float32)[:, None, None]
    np.testing.assert_allclose(softmax(together(moved)), found, rtol=1e-3, atol=1e-30)


def test_one_member_keeps_its_scores_and_what_is_not_finite_stays_visible() -> None:
    scores = np.array([[[3.0, 1.0]]], np.float32)
    assert together(scores) is not scores
    np.testing.assert_array_equal(together(scores), scores[0])
    assert np.isnan(together(np.array([[[np.nan, 1]], [[0, 1]]], np.float32))).all()


def test_slots_are_averaged_each_by_itself() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((4, 2), np.int64)
    members = [
        Predictions([rng.standard_normal((4, size)).astype(np.float32) for size in (3, 2)], labels) for _ in range(3)
    ]
    found = predictions_together(members)
    assert [scores.shape for scores in found.scores] == [(4, 3), (4, 2)]
    np.testing.assert_array_equal(found.scores[1], together(np.stack([member.scores[1] for member in members])))
