from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from tests.fixtures.tuning import make_lane, tiny_lm, uneven
from workers.prompting.examples import Batches
from workers.prompting.objectives.separators import separator_loss
from workers.prompting.sampling import balanced_rows, class_weights, combinations
from workers.tuning.step.gang import Gang

GROUPS = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(GROUPS, st.integers(0, 9))
def test_an_epoch_holds_equally_many_of_each_class(drawn: list[int], seed: int) -> None:
    groups = combinations(np.array(drawn)[:, None])
    rows = balanced_rows(groups, np.random.default_rng(seed))
    assert len(rows) == len(groups)
    counts = np.bincount(groups[rows], minlength=groups.max() + 1)
    assert counts.max() - counts.min() <= 1
    for group in range(groups.max() + 1):
        # No row is drawn a further time before all of its class were.
        times = np.bincount(rows, minlength=len(groups))[groups == group]
        assert times.max() - times.min() <= 1


@given(GROUPS)
def test_weights_are_those_of_scikit_learn(drawn: list[int]) -> None:
    labels = np.array(drawn)
    present = np.unique(labels)
    weights = class_weights(labels, 5)
    wanted = compute_class_weight("balanced", classes=present, y=labels)
    np.testing.assert_allclose(weights[present], wanted, rtol=1e-6)
    assert weights[np.setdiff1d(np.arange(5), present)].sum() == 0
    assert weights[labels].mean() == pytest.approx(1, rel=1e-5)


def test_combinations_of_labels_are_groups() -> None:
    assert combinations(np.array([[0, 2], [1, 0], [0, 2], [0, 0]])).tolist() == [1, 2, 1, 0]


def test_balanced_batches_depend_on_seed_and_number_alone() -> None:
    lengths, groups = np.arange(40) % 7 + 1, (np.arange(40) % 8 == 0).astype(np.int64)

    def drawn(seed: int) -> list[list[int]]:
        batches = Batches(lengths, batch_size=6, seed=seed, groups=groups)
        return [batches[number].tolist() for number in (9, 0, 3, 9)]

    assert drawn(1) == drawn(1)
    assert drawn(1)[0] == drawn(1)[3]
    assert drawn(1) != drawn(2)
    batches = Batches(lengths, batch_size=6, seed=1, groups=groups)
    epoch = np.concatenate([batches[number] for number in range(batches.per_epoch)])
    assert np.bincount(groups[epoch]).tolist() == [20, 20]


def test_weighted_loss_by_hand() -> None:
    scores = [torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]])]
    labels = torch.tensor([[0], [1], [0]])
    wanted = (0.5 * math.log(2) + 3 * math.log(1 + math.exp(2)) + 0.5 * math.log(2)) / 3
    weights = [torch.tensor([0.5, 3.0])]
    assert float(separator_loss(scores, labels, class_weights=weights)) == pytest.approx(wanted)


@pytest.mark.parametrize("balance", ["sampling", "weights"])
def test_a_rare_class_is_recalled_more_often(balance: str) -> None:
    """With few steps the frequent class is the answer to everything, unless classes are balanced."""
    lm = tiny_lm()
    settings: dict[str, Any] = {"steps": 40, "evaluate_every": 40, "learning_rate": 0.02, "batch_size": 12}

    def recall(balance: str) -> float:
        lane = make_lane(lm, (2,), examples=uneven(), balance=balance, **settings)
        gang = Gang(lm, [lane], precision="fp32")
        gang.run_to_evaluation()
        predictions = gang.predict(lane, gang.adam.values[0], lane.examples.splits["test"])
        rare = predictions.labels[:, 0] == 1
        return float((predictions.classes[rare, 0] == 1).mean())

    assert recall(balance) > recall("none") + 0.2


def test_the_gradient_of_weights_is_that_of_their_definition() -> None:
    """A whole batch, so the first loss is the weighted mean of log 2 at an untrained verbalizer."""
    examples = uneven()
    lane = make_lane(tiny_lm(), (2,), examples=examples, balance="weights", batch_size=len(examples.splits["train"]))
    assert lane.class_weights is not None
    np.testing.assert_allclose(lane.class_weights[0], [36 / (2 * 30), 36 / (2 * 6)])
    [evaluation] = Gang(tiny_lm(), [lane], precision="fp32").run_to_evaluation().values()
    assert evaluation.losses[0][1] == pytest.approx(math.log(2), abs=1e-5)
