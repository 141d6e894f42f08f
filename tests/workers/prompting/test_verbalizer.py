from __future__ import annotations

import csv
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import TaskSpecError
from task_specs.recipe import Loss, Recipe, Verbalizer
from tests.fixtures.shared_data import shared_folder
from workers.prompting.objectives.kinds import OBJECTIVES, check_unit_count
from workers.prompting.verbalizers.fixed import by_frequency, frequent_units, random_units
from workers.prompting.verbalizers.kinds import VERBALIZERS
from workers.prompting.verbalizers.verbalizer import SlotMapping
from workers.speech.sequences import UnitSequences


def test_frequency_mapping_of_the_published_keyword_task() -> None:
    """The table that the reference published for Google Speech Commands, whose units these are."""
    labels = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_", "_silence_"]
    file = shared_folder("units") / "google_speech_commands_v1.train.tsv"
    with file.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    units = UnitSequences.of([int(unit) for unit in row["units"].split()] for row in rows)
    numbers = np.array([labels.index(row["label"]) for row in rows])
    mapping = frequent_units(numbers, units.flat, classes=12, unit_tokens=np.arange(100))
    published = [57, 40, 63, 71, 56, 93, 22, 12, 87, 10, 99, 53]
    assert mapping[[3, 7, 11, 5, 8, 1, 4, 10, 9, 2, 6, 0]].tolist() == published


@given(st.lists(st.integers(0, 9)), st.integers(10, 12))
def test_order_by_frequency(values: list[int], count: int) -> None:
    order = by_frequency(np.array(values, dtype=np.int64), count).tolist()

    def rank(value: int) -> tuple[int, int, int]:
        first = values.index(value) if value in values else len(values)
        return -values.count(value), first, value

    assert order == sorted(range(count), key=rank)


def test_frequency_mapping_goes_rank_by_rank() -> None:
    labels = np.array([2, 0, 2, 1, 1, 2])  # 2, then 1, then 0
    units = np.array([7, 3, 7, 5, 3, 7, 9], dtype=np.int16)  # 7, then 3, then 5 before 9
    assert frequent_units(labels, units, classes=3, unit_tokens=np.arange(10)).tolist() == [5, 3, 7]


@given(st.integers(1, 100), st.integers(0, 50))
def test_random_mapping_has_no_collisions(classes: int, seed: int) -> None:
    units = random_units(classes=classes, unit_tokens=np.arange(100), seed=seed)
    assert len(set(units.tolist())) == classes
    assert set(units.tolist()) <= set(range(100))
    assert np.array_equal(units, random_units(classes=classes, unit_tokens=np.arange(100), seed=seed))


def test_units_that_share_a_token_are_one_choice() -> None:
    tokens = np.array([4, 3, 5, 3, 6, 3])  # units 1, 3 and 5 are <unk>
    for seed in range(20):
        chosen = random_units(classes=4, unit_tokens=tokens, seed=seed)
        assert sorted(tokens[chosen].tolist()) == [3, 4, 5, 6]
    labels, units = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 3, 5, 1, 3, 5, 0], dtype=np.int16)
    assert frequent_units(labels, units, classes=3, unit_tokens=tokens).tolist() == [1, 0, 2]


def test_random_mapping_depends_on_the_seed() -> None:
    draws = {tuple(random_units(classes=5, unit_tokens=np.arange(100), seed=seed).tolist()) for seed in range(20)}
    assert len(draws) == 20


def test_recipes_name_the_registered_verbalizers_and_objectives() -> None:
    assert set(VERBALIZERS) == set(get_args(Verbalizer))
    assert set(OBJECTIVES) == set(get_args(Loss))


@pytest.mark.parametrize("name", VERBALIZERS)
def test_every_verbalizer_scores_classes_and_what_competes_with_them(name: str) -> None:
    verbalizer, logits, labels = VERBALIZERS[name], torch.randn(3, 6), torch.tensor([1, 0, 1])
    shape = verbalizer.shape(2, inputs=6, special_rows=4)
    mapping = SlotMapping(None if shape is None else torch.randn(shape), torch.tensor([5, 0]), special_rows=4)
    scores, outputs = verbalizer.scores(logits, mapping), verbalizer.outputs(logits, mapping)
    assert scores.shape == (3, 2)
    rows = torch.arange(3)
    answers = verbalizer.answers(labels, mapping)
    torch.testing.assert_close(outputs[rows, answers], scores[rows, labels])
    assert not set(verbalizer.begin_and_end(1, 2)) & set(answers.tolist())
    if shape is None:
        assert torch.equal(scores, logits[:, [5, 0]])
    else:
        assert mapping.matrix is not None
        torch.testing.assert_close(scores, logits @ mapping.matrix[4:].T)
    assert (shape is None) == verbalizer.one_unit_a_class == (verbalizer.matrix(mapping) is None)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"verbalizer": "frequency"}, r"toy: recipe\.verbalizer: 'frequency' .* 11 classes .* 10 units; use 'linear'"),
        ({"verbalizer": "random"}, r"recipe\.verbalizer: 'random'"),
        ({"name": "paper"}, r"recipe\.loss: 'paper' .*use 'separators'"),
    ],
)
def test_more_classes_than_units(recipe: dict[str, str], message: str) -> None:
    check_unit_count(Recipe.from_spec(recipe), [10, 3], 10, "toy")
    check_unit_count(Recipe(), [11], 10, "toy")
    with pytest.raises(TaskSpecError, match=message):
        check_unit_count(Recipe.from_spec(recipe), [3, 11], 10, "toy")
