"""The arm that the benchmarks compare with computes what this project computes."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.reference_form import ReferenceForm, generate_label, padded
from tests.fixtures.tuning import TINY, tiny_lm
from workers.prompting.prompted_pass import PromptRows, PromptTensors, read_prompts

LM = tiny_lm()


def _prompt() -> PromptTensors:
    generator = torch.Generator().manual_seed(0)
    keys, values = torch.randn(2, TINY.layers, 3, TINY.dim, generator=generator)
    return PromptTensors(keys, values, torch.randn(1, TINY.dim, generator=generator))


def test_scores_at_the_separator_are_the_same() -> None:
    rows = [np.array([5, 9, 4]), np.array([7, 8, 6, 5, 11])]
    [found] = read_prompts(LM, [_prompt()], [PromptRows(rows, 1)])
    tokens, separator_at = padded(rows, LM)
    wanted = ReferenceForm(LM, _prompt())(tokens, separator_at)[torch.arange(2), 3 + separator_at]
    torch.testing.assert_close(found[:, 0], wanted, rtol=1e-4, atol=1e-5)


def test_generated_labels_are_those_of_one_pass() -> None:
    rows = [np.array([5, 9, 4, 8]), np.array([7, 8, 6, 5])]
    matrix = torch.randn(4, TINY.vocabulary, generator=torch.Generator().manual_seed(1))
    [logits] = read_prompts(LM, [_prompt()], [PromptRows(rows, 1)])
    answers = generate_label(ReferenceForm(LM, _prompt()), rows, matrix)
    assert torch.equal(answers, (logits[:, 0] @ matrix.T).argmax(dim=1))
