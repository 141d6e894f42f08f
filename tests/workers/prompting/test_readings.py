"""What readings hear, held against formulas for a single row, and against their neighbours in a pass."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from task_specs.recipe import Read, Recipe
from tests.fixtures.plain_lm import plain_attention_inputs
from tests.fixtures.tuning import TINY, tiny_lm
from workers.prompting.prompt import PromptShape, prompt_shape
from workers.prompting.prompted_pass import PromptRows, PromptTensors, read_prompts
from workers.prompting.readings.kinds import READINGS
from workers.prompting.readings.pooled import QUERIES
from workers.prompting.readings.reading import LAYERS

LM = tiny_lm()


def _shape(read: str, slots: int = 1, length: int = 3) -> PromptShape:
    recipe = Recipe.from_spec({"read": read, "prompt_length": length})
    return prompt_shape(TINY, recipe, [2] * slots)


def _flat(shape: PromptShape, seed: int) -> Tensor:
    return torch.randn(shape.size, generator=torch.Generator().manual_seed(seed))


def _prompt(read: str, slots: int = 1, length: int = 3, seed: int = 0) -> PromptTensors:
    shape = _shape(read, slots, length)
    return shape.prompt(_flat(shape, seed))


def _units(lengths: list[int], seed: int) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, TINY.vocabulary, size=length) for length in lengths]


def test_recipes_name_the_registered_readings() -> None:
    assert set(READINGS) == set(get_args(Read))


@pytest.mark.parametrize("read", ["mean", "pooled"])
@pytest.mark.parametrize("length", [0, 3])
def test_features_are_those_of_the_plain_formulas(read: str, length: int) -> None:
    prompt, [units] = _prompt(read, slots=2, length=length), _units([6], seed=1)
    [found] = read_prompts(LM, [prompt], [PromptRows([units], 2)])
    keys, values = (part.double().numpy() if length else None for part in (prompt.keys, prompt.values))
    states = plain_attention_inputs(LM, np.array([TINY.eos, *units]), keys=keys, values=values)
    assert prompt.bound is not None
    tensors = {name: tensor.double().numpy() for name, tensor in prompt.bound.tensors.items()}
    exponents = np.exp(tensors[LAYERS])
    mixed = np.einsum("l,ltd->td", exponents / exponents.sum(), states)
    for slot in range(2):
        weights = np.full(len(mixed), 1 / len(mixed))
        if read == "pooled":
            weights = np.exp(mixed @ tensors[QUERIES][slot] / np.sqrt(TINY.dim))
            weights /= weights.sum()
        wanted = weights @ mixed
        np.testing.assert_allclose(found[0, slot, TINY.vocabulary :], wanted, rtol=1e-4, atol=1e-5)
    [scores] = read_prompts(
        LM, [PromptTensors(prompt.keys, prompt.values, prompt.separators)], [PromptRows([units], 2)]
    )
    torch.testing.assert_close(found[..., : TINY.vocabulary], scores, rtol=1e-5, atol=1e-5)


@st.composite
def _groups(draw: st.DrawFn) -> tuple[list[PromptTensors], list[PromptRows]]:
    prompts, groups = [], []
    for seed in range(draw(st.integers(1, 4))):
        slots = draw(st.integers(1, 3))
        units = _units(draw(st.lists(st.integers(0, 7), min_size=1, max_size=4)), seed)
        prompts.append(_prompt(draw(st.sampled_from(list(READINGS))), slots, draw(st.integers(0, 4)), seed))
        groups.append(PromptRows(units, slots))
    return prompts, groups


@settings(deadline=None, max_examples=40)
@given(_groups())
def test_readings_that_share_a_pass_do_not_meet(drawn: tuple[list[PromptTensors], list[PromptRows]]) -> None:
    prompts, groups = drawn
    for prompt, group, together in zip(prompts, groups, read_prompts(LM, prompts, groups), strict=True):
        for row, tokens in enumerate(group.tokens):
            [alone] = read_prompts(LM, [prompt], [PromptRows([tokens], group.slots)])
            torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=2e-5)


def test_gradients_are_those_of_differences() -> None:
    shape, lm = _shape("pooled", slots=2), tiny_lm().double()
    groups = [PromptRows(_units([4, 2], seed=6), 2)]
    direction = torch.randn(2, 2, shape.inputs, generator=torch.Generator().manual_seed(1))

    def loss(flat: Tensor) -> Tensor:
        [read] = read_prompts(lm, [shape.prompt(flat)], groups)
        return (read.double() * direction).sum()

    flat = _flat(shape, 5).double().requires_grad_()
    loss(flat).backward()  # type: ignore[no-untyped-call]
    assert flat.grad is not None
    used = [range(place.start, place.stop) for name, place, _ in shape.segments() if "verbalizer" not in name]
    for number in [number for numbers in used for number in numbers[:: max(1, len(numbers) // 4)]]:
        step = torch.zeros_like(flat)
        step[number] = 1e-3
        with torch.no_grad():
            wanted = (loss(flat + step) - loss(flat - step)) / 2e-3
        torch.testing.assert_close(flat.grad[number], wanted, rtol=2e-2, atol=2e-3)
