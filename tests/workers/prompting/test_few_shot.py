from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.tuning import lane_spec, make_lane, tiny_lm, toy_examples, uneven
from tests.workers.inference.test_windows import windowed
from workers.prompting.examples import TaskExamples
from workers.prompting.sampling import combinations, few_shot
from workers.tuning.lane_examples import drawn_examples
from workers.tuning.step.gang import Gang
from workers.tuning.step.lane import Lane

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=60)


@given(LABELS, st.integers(1, 9), st.integers(0, 9))
def test_each_combination_has_as_many_as_asked_or_all(drawn: list[tuple[int, int]], shots: int, seed: int) -> None:
    labels = np.array(drawn)
    groups = combinations(labels)
    chosen = few_shot(labels, shots, seed=seed)
    assert np.array_equal(chosen, np.unique(chosen)), "ascending, and none twice"
    wanted = np.minimum(np.bincount(groups), shots)
    assert np.array_equal(np.bincount(groups[chosen], minlength=len(wanted)), wanted)
    assert np.array_equal(few_shot(labels, shots, seed=seed), chosen)
    assert set(chosen) <= set(few_shot(labels, shots + 1, seed=seed))


def test_seeds_draw_differently_and_every_example_has_a_chance() -> None:
    labels = np.repeat([0, 1], 10)[:, None]
    draws = [few_shot(labels, 3, seed=seed) for seed in range(60)]
    assert len({tuple(draw) for draw in draws}) > 50
    times = np.bincount(np.concatenate(draws), minlength=20)
    assert times.min() > 6
    assert times.max() < 33


def test_a_lane_is_tuned_on_its_draw_and_measured_on_everything() -> None:
    examples = uneven((2,), rare=3)
    spec = lane_spec((2,), seed=4).model_copy(update={"shots": 5})
    found = drawn_examples(spec, examples)
    assert np.bincount(found.splits["train"].labels[:, 0]).tolist() == [5, 3]
    assert found.splits["test"] is examples.splits["test"]
    assert drawn_examples(lane_spec((2,)), examples) is examples
    lane = make_lane(tiny_lm(), (2,), examples=examples, seed=4, shots=5, verbalizer="frequency")
    assert lane.batches.per_epoch == 2
    assert lane.mapped_units is not None
    # What a fixed verbalizer counts is the draw too.
    alone = make_lane(tiny_lm(), (2,), examples=found, seed=4, verbalizer="frequency")
    assert [units.tolist() for units in lane.mapped_units] == [units.tolist() for units in alone.mapped_units or []]
    for one, other in zip(*(_losses(made) for made in (lane, alone)), strict=True):
        assert one == other


def _losses(lane: Lane) -> list[tuple[int, float]]:
    gang = Gang(tiny_lm(), [lane], precision="fp32")
    return [point for evaluation in gang.run_to_evaluation().values() for point in evaluation.losses]


def test_a_recording_in_windows_is_one_shot() -> None:
    examples = toy_examples()
    cut = TaskExamples({**examples.splits, "train": windowed(examples.splits["train"])})
    train = drawn_examples(lane_spec().model_copy(update={"shots": 2}), cut).splits["train"]
    assert train.examples == 6
    assert len(train) > 6
