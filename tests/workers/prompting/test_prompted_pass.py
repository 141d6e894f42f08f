"""The prompted forward pass, against the reference and against itself.

Of the reference's rows with several labels only the first label compares: it reads all labels after one separator,
each from the label token before it, where this project has a separator for every slot and feeds no label back. Its
prompts of the input alone have no counterpart, for there are no prompt positions here.
"""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tests.fixtures.gold_prompts import Kind, gold_prompt, gold_units
from tests.fixtures.golden import expected, toy_lm
from tests.fixtures.plain_lm import plain_logits
from tests.fixtures.shared_data import shared_folder
from tests.fixtures.tuning import TINY, tiny_lm
from workers.prompting.prompted_pass import PromptRows, PromptTensors, assemble, read_prompts

LM = tiny_lm()


def _prompt(length: int, slots: int, seed: int) -> PromptTensors:
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, TINY.layers, length, TINY.dim, generator=generator)
    return PromptTensors(keys, values, torch.randn(slots, TINY.dim, generator=generator))


def _units(lengths: list[int], seed: int) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, TINY.vocabulary, size=length) for length in lengths]


def _close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", ["verb", "noverb"])
@pytest.mark.parametrize("labels", ["", "_multilabel"])
def test_matches_the_reference_at_the_separator(kind: Kind, labels: str) -> None:
    folder = shared_folder("golden")
    gold = expected(folder / f"prompted/expected_{kind}{labels}.npz")
    tensors = gold_prompt(folder / "prompted", kind)
    prompt = PromptTensors(tensors["prompt.keys"], tensors["prompt.values"], tensors["separators"])
    [logits] = read_prompts(toy_lm(folder / "gslm"), [prompt], [PromptRows(gold_units(gold), slots=1)])
    raw = gold["label_slot_raw_logits" if kind == "verb" else "label_slot_logits"]
    np.testing.assert_allclose(logits[:, 0].numpy(), raw, rtol=0, atol=3e-5)
    if kind == "verb":
        scores = F.linear(logits[:, 0], tensors["verbalizer.0"])
        np.testing.assert_allclose(scores.numpy(), gold["label_slot_logits"], rtol=0, atol=1e-4)


def test_matches_the_plain_formulas() -> None:
    prompt, [units] = _prompt(3, slots=2, seed=1), _units([6], seed=1)
    [logits] = read_prompts(LM, [prompt], [PromptRows([units], slots=2, read_last_unit=True)])
    keys, values, separators = (part.double().numpy() for part in (prompt.keys, prompt.values, prompt.separators))
    tokens = np.array([TINY.eos, *units])
    wanted = plain_logits(LM, tokens, keys=keys, values=values, separators=separators)
    np.testing.assert_allclose(logits[0].numpy(), wanted[-3:], rtol=1e-4, atol=1e-5)


@st.composite
def _groups(draw: st.DrawFn) -> tuple[list[PromptTensors], list[PromptRows]]:
    prompts, groups = [], []
    for seed in range(draw(st.integers(1, 4))):
        slots = draw(st.integers(1, 3))
        units = _units(draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)), seed)
        fed = np.arange(len(units)) % TINY.vocabulary if draw(st.booleans()) else None
        prompts.append(_prompt(draw(st.integers(1, 4)), slots, seed))
        groups.append(PromptRows(units, slots, fed, read_last_unit=draw(st.booleans())))
    return prompts, groups


@settings(deadline=None, max_examples=40)
@given(_groups())
def test_prompts_that_share_a_pass_do_not_meet(drawn: tuple[list[PromptTensors], list[PromptRows]]) -> None:
    prompts, groups = drawn
    for prompt, group, together in zip(prompts, groups, read_prompts(LM, prompts, groups), strict=True):
        assert together.shape == (len(group.tokens), group.reads, TINY.vocabulary)
        for row, tokens in enumerate(group.tokens):
            fed = None if group.labels is None else group.labels[row : row + 1]
            single = PromptRows([tokens], group.slots, fed, group.read_last_unit)
            [alone] = read_prompts(LM, [prompt], [single])
            _close(together[row], alone[0])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_a_slot_does_not_see_the_slots_after_it(lengths: list[int]) -> None:
    prompt, units = _prompt(3, slots=3, seed=2), _units(lengths, seed=3)
    [all_slots] = read_prompts(LM, [prompt], [PromptRows(units, slots=3)])
    for slots in (1, 2):
        shorter = PromptTensors(prompt.keys, prompt.values, prompt.separators[:slots])
        [logits] = read_prompts(LM, [shorter], [PromptRows(units, slots)])
        _close(all_slots[:, :slots], logits)


def test_what_follows_the_separators_changes_nothing_before_it() -> None:
    prompt, units = _prompt(2, slots=2, seed=4), _units([3, 5], seed=4)
    [plain] = read_prompts(LM, [prompt], [PromptRows(units, 2)])
    [fed] = read_prompts(LM, [prompt], [PromptRows(units, 2, np.array([7, 9]), read_last_unit=True)])
    _close(fed[:, 1:3], plain)
    [other] = read_prompts(LM, [prompt], [PromptRows(units, 2, np.array([8, 9]), read_last_unit=True)])
    assert not torch.allclose(other[0, 3], fed[0, 3]), "the fed label is seen at its own position"
    _close(other[1], fed[1])


def test_rows_are_laid_out_as_documented() -> None:
    groups = [PromptRows([np.array([5, 6])], 1), PromptRows([np.array([7]), np.array([8, 9])], 2, np.array([4, 5]))]
    laid_out = assemble(groups, start=2)
    rows = laid_out.rows
    assert laid_out.row_prompt.tolist() == [0, 1, 1]
    assert laid_out.rows_of == [slice(0, 1), slice(1, 3)]
    assert rows.packing.longest == 6
    assert rows.vector_at is not None
    separators = {3: 0, 6: 1, 7: 2, 12: 1, 13: 2}
    assert dict(zip(rows.vector_at.tolist(), laid_out.separator_of.tolist(), strict=True)) == separators
    known = {place: token for place, token in enumerate(rows.tokens.tolist()) if place not in separators}
    assert known == {0: 2, 1: 5, 2: 6, 4: 2, 5: 7, 8: 4, 9: 2, 10: 8, 11: 9, 14: 5}


def test_gradients_reach_everything_trained() -> None:
    leaves = [leaf.clone().requires_grad_() for leaf in astuple(_prompt(2, slots=2, seed=6))[:3]]
    [logits] = read_prompts(LM, [PromptTensors(*leaves)], [PromptRows(_units([4], seed=6), 2)])
    logits[0, 1].square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(leaf.grad is not None and leaf.grad.abs().max() > 0 for leaf in leaves)
    assert not any(parameter.grad is not None for parameter in LM.parameters())


def test_a_prompt_projected_once_gives_the_same_scores() -> None:
    prompts, groups = (
        [_prompt(3, 1, 7), _prompt(2, 2, 8)],
        [PromptRows(_units([3, 5], 7), 1), PromptRows(_units([4], 8), 2)],
    )
    wanted = read_prompts(LM, prompts, groups)
    found = read_prompts(LM, [prompt.project(LM) for prompt in prompts], groups)
    for one, other in zip(found, wanted, strict=True):
        _close(one, other)
