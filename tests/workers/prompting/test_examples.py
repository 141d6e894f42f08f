from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from task_specs.example import SPLITS
from tests.fixtures.tuning import toy_examples
from workers.prompting.examples import Batches, SplitExamples, TaskExamples


def test_round_trip() -> None:
    examples = toy_examples((3, 2))
    again = TaskExamples.from_bytes(examples.to_bytes())
    assert list(again.splits) == list(SPLITS)
    assert again.digest() == examples.digest()
    for name, array in examples.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], array, strict=True)


def test_digest_sees_every_change() -> None:
    examples = toy_examples()
    train, valid = examples.splits["train"], examples.splits["valid"]
    relabelled = train.labels.copy()
    relabelled[0] = (relabelled[0] + 1) % 3
    shifted = train.units.offsets.copy()
    shifted[1] += 1
    variants = [
        {**examples.splits, "train": valid, "valid": train},
        {**examples.splits, "train": SplitExamples(train.units, relabelled)},
        {**examples.splits, "train": SplitExamples(type(train.units)(train.units.flat, shifted), train.labels)},
        {**examples.splits, "train": SplitExamples(valid.units, train.labels)},
    ]
    assert len({examples.digest(), *(TaskExamples(variant).digest() for variant in variants)}) == 5


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 8), st.integers(0, 5))
def test_every_epoch_holds_every_row_once(lengths: list[int], batch_size: int, seed: int) -> None:
    batches = Batches(np.array(lengths), batch_size=batch_size, seed=seed)
    for epoch in range(3):
        drawn = [batches[epoch * batches.per_epoch + index] for index in range(batches.per_epoch)]
        assert sorted(len(batch) for batch in drawn)[1:] == [batch_size] * (len(drawn) - 1)
        assert sorted(np.concatenate(drawn).tolist()) == list(range(len(lengths)))


def test_a_batch_depends_on_its_number_alone() -> None:
    lengths = np.arange(10) % 4 + 1
    batches = Batches(lengths, batch_size=3, seed=1)
    in_order = [batches[index].tolist() for index in range(12)]
    again = [Batches(lengths, batch_size=3, seed=1)[index].tolist() for index in (11, 0, 5)]
    assert again == [in_order[11], in_order[0], in_order[5]]
    assert in_order[:4] != in_order[4:8], "epochs differ"
    other = Batches(lengths, batch_size=3, seed=2)
    assert [other[index].tolist() for index in range(4)] != in_order[:4]


def test_rows_of_a_batch_have_similar_lengths() -> None:
    lengths = np.random.default_rng(0).integers(5, 120, 640)
    batches = Batches(lengths, batch_size=8, seed=0)
    longest = np.array([lengths[batches[index]].max() for index in range(batches.per_epoch)])
    # Without sorting, the longest of 8 is 1.7 times the mean.
    assert longest.sum() * 8 < 1.15 * lengths.sum()
