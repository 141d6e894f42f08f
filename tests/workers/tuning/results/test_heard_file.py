"""What a lane keeps of what its prompt heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.orders import lane_outcome
from tests.fixtures.tuning import lane_spec, make_lane, tiny_backbone
from workers.backbone.sharing import SharedLM
from workers.evaluation.heard import toward
from workers.evaluation.metrics import Predictions
from workers.tuning.results.heard_file import HEARD_FILE, HeardExample, heard_bytes, heard_examples, read_heard
from workers.tuning.results.outcome import write_outcome
from workers.tuning.step.gang import Gang


def heard_by(**recipe: Any) -> tuple[list[list[HeardExample]], Gang, Predictions]:
    """What an untrained prompt of two slots heard, and its predictions on the test split."""
    lm = SharedLM.of(tiny_backbone()).attach()
    lane = make_lane(lm, (3, 2), **recipe)
    gang = Gang(lm, [lane], precision="fp32")
    gang.run_to_evaluation()
    predictions = gang.predict(lane, gang.best[0], lane.examples.splits["test"])
    return heard_examples(gang, lane, gang.best[0], predictions, [2.0, 0.5]), gang, predictions


@pytest.mark.parametrize("read", ["pooled", "mean"])
def test_an_example_of_each_class_that_was_right_is_kept_with_what_its_units_add(read: str) -> None:
    heard, gang, predictions = heard_by(read=read)
    lane = gang.lanes[0].lane
    test = lane.examples.splits["test"]
    right = predictions.classes == predictions.labels
    for slot, (examples, temperature) in enumerate(zip(heard, (2.0, 0.5), strict=True)):
        known = [
            label for label in range(lane.shape.classes[slot]) if (right & (predictions.labels == label))[:, slot].any()
        ]
        assert [one.label for one in examples] == known
        for one in examples:
            row = int(np.flatnonzero(right[:, slot] & (predictions.labels[:, slot] == one.label))[0])
            np.testing.assert_array_equal(one.units, test.units[row])
            [part] = gang.positions(lane, gang.best[0], test, slot, np.array([row]))
            np.testing.assert_allclose(one.weights, toward(part, one.label, temperature), atol=1e-5)
            assert np.abs(one.weights).max() > 0
    assert any(heard)


def test_a_prompt_that_reads_the_separators_alone_hears_nothing() -> None:
    heard, _, _ = heard_by(read="separator")
    assert heard == [[], []]


def test_what_is_stored_is_what_was_heard(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kept = [
        HeardExample(label, rng.integers(9, size=size).astype(np.int16), rng.random(size, np.float32))
        for label, size in ((0, 4), (2, 1))
    ]
    heard = [kept, []]
    outcome = write_outcome(str(tmp_path), lane_outcome("k", lane_spec()), {}, {HEARD_FILE: heard_bytes(heard)})
    found = read_heard(str(tmp_path), outcome)
    assert found is not None
    assert [[one.label for one in slot] for slot in found] == [[0, 2], []]
    for before, after in zip(heard[0], found[0], strict=True):
        np.testing.assert_array_equal(before.units, after.units)
        np.testing.assert_array_equal(before.weights, after.weights)
    assert read_heard(str(tmp_path), lane_outcome("none", lane_spec())) is None
