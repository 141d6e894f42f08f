from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from task_specs.recipe import RECIPES, Recipe


def test_named_recipes() -> None:
    assert Recipe.from_spec("default") == Recipe()
    assert Recipe.from_spec({}) == Recipe()
    paper = Recipe.from_spec("paper")
    assert paper.name == "paper"
    # The settings of the released code.
    assert (paper.prompt_length, paper.learning_rate, paper.batch_size, paper.patience) == (5, 5e-3, 32, 1)
    assert (paper.adam_beta1, paper.adam_beta2, paper.clip_norm, paper.dropout) == (0.9, 0.98, 1.0, 0.1)
    assert (paper.loss, paper.schedule, paper.warmup_steps, paper.select_on) == ("paper", "constant", 0, "loss")
    assert (paper.separator_init, paper.verbalizer_init, paper.evaluate_every) == ("normal", "uniform", None)


@pytest.mark.parametrize("name", ["default", "paper"])
def test_a_change_leaves_the_rest_of_the_recipe(name: str) -> None:
    changed = Recipe.from_spec({"name": name, "learning_rate": 0.1})
    assert changed == Recipe.from_spec(name).model_copy(update={"learning_rate": 0.1})
    assert Recipe.model_validate_json(changed.model_dump_json()) == changed


def test_presets_name_real_fields() -> None:
    for name, preset in RECIPES.items():
        assert preset.keys() <= Recipe.model_fields.keys(), name


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("papr", "name"),
        ({"name": ["paper"]}, "name"),
        ({"name": None}, "name"),
        ({"learning_rat": 1}, "learning_rat"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"prompt_length": -1}, "prompt_length"),
        ({"steps": 1.5}, "steps"),
        ({"dropout": 1.0}, "dropout"),
        ({"verbalizer": "freq"}, "verbalizer"),
        ({"patience": 0}, "patience"),
        ({"evaluate_every": 0}, "evaluate_every"),
    ],
)
def test_wrong_values_are_named(value: Any, field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Recipe.from_spec(value)
    assert [error["loc"] for error in raised.value.errors()] == [(field,)]


def test_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 10**18),
        ("steps", 10_000_001),
        ("steps", True),
        ("steps", 1e300),
        ("steps", float("inf")),
        ("steps", "9" * 5000),
        ("batch_size", 16_385),
        ("batch_size", True),
        ("warmup_steps", 10**18),
        ("evaluate_every", 10**18),
        ("validation_examples", 10**18),
        ("patience", 10**18),
        ("prompt_length", True),
        ("learning_rate", True),
        ("learning_rate", float("inf")),
        ("learning_rate", 1e308),
        ("learning_rate", -0.1),
        ("clip_norm", float("inf")),
        ("clip_norm", float("nan")),
        ("separator_lr_scale", 1e39),
        ("verbalizer_lr_scale", float("inf")),
        ("adam_beta1", float("nan")),
        ("label_smoothing", True),
        ("dropout", "1e400"),
    ],
)
def test_every_number_has_an_end(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        Recipe.from_spec({field: value})
    assert [error["loc"] for error in raised.value.errors()] == [(field,)]


def test_numbers_may_be_written_as_people_write_them() -> None:
    assert Recipe.from_spec({"steps": 1e3, "learning_rate": "5e-3", "batch_size": "8"}) == Recipe(
        steps=1000, learning_rate=0.005, batch_size=8
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"read": "pooled", "verbalizer": "frequency"}, "verbalizer: frequency cannot read"),
        ({"read": "mean", "verbalizer": "random"}, "verbalizer: random cannot read"),
        ({"name": "paper", "read": "pooled"}, "read: pooled is not defined for loss: paper"),
        ({"name": "paper", "read_dropout": 0.1}, "read_dropout is not defined for loss: paper"),
        ({"name": "paper", "unit_dropout": 0.1}, "unit_dropout is not defined for loss: paper"),
        ({"name": "paper", "unit_replacement": 0.1}, "unit_replacement is not defined for loss: paper"),
    ],
)
def test_readings_and_noise_go_with_what_can_take_them(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.from_spec(value)


def test_a_reading_that_is_not_said_is_the_best_that_fits() -> None:
    assert Recipe().reading == "pooled"
    assert Recipe.from_spec({"verbalizer": "frequency"}).reading == "separator"
    assert Recipe.from_spec({"loss": "paper"}).reading == Recipe.from_spec("paper").reading == "separator"
    assert Recipe.from_spec({"read": "mean"}).reading == "mean"
