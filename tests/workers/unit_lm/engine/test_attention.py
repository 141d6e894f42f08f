"""Attention in grids, against one row and one head at a time."""

from __future__ import annotations

import math
from inspect import signature
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import varlen
from torch.nn.functional import scaled_dot_product_attention

from workers.unit_lm.engine import attention
from workers.unit_lm.engine.attention import attend
from workers.unit_lm.engine.attention_plan import AttentionPlan
from workers.unit_lm.engine.packing import Packing

HEADS, WIDTH = 2, 3
DIM = HEADS * WIDTH


@st.composite
def _cases(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], int, int]:
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    prompts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    of_rows = draw(st.lists(st.integers(0, len(prompts) - 1), min_size=len(lengths), max_size=len(lengths)))
    return lengths, prompts, of_rows, draw(st.sampled_from([0, 40, 10_000])), draw(st.integers(0, 3))


def _plainly(
    tensors: list[Tensor], lengths: list[int], prompts: list[int], of_rows: list[int], offsets: np.ndarray | None
) -> Tensor:
    queries, keys, values, prefix_keys, prefix_values = tensors
    ends = [0, *np.cumsum(lengths).tolist()]
    outputs = []
    for row, (start, end) in enumerate(pairwise(ends)):
        prompt, own = of_rows[row], prompts[of_rows[row]]
        count = 0 if offsets is None else offsets.shape[1]
        for place in range(count or end - start):
            position = place if offsets is None else int(offsets[row, place])
            query = queries[start + place if offsets is None else row * count + place]
            seen = slice(start, start + position + 1)
            for head in range(HEADS):
                part = slice(head * WIDTH, (head + 1) * WIDTH)
                k = torch.cat([prefix_keys[prompt, :own, part], keys[seen, part]])
                v = torch.cat([prefix_values[prompt, :own, part], values[seen, part]])
                outputs.append((k @ query[part] / math.sqrt(WIDTH)).softmax(0) @ v)
    return torch.stack(outputs).view(-1, DIM)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("reading", [False, True])
@settings(deadline=None, max_examples=25)
@given(_cases())
def test_equals_attention_row_by_row(
    reading: bool, fused: bool, case: tuple[list[int], list[int], list[int], int, int]
) -> None:
    lengths, prompts, of_rows, cost, spare = case
    rng = np.random.default_rng(0)
    offsets = np.stack([rng.integers(0, length, 2) for length in lengths]) if reading else None
    tokens, longest = sum(lengths) + spare, max(prompts)
    asked = tokens if offsets is None else offsets.size
    sizes = [(asked, DIM), (tokens, DIM), (tokens, DIM), *[(len(prompts), longest, DIM)] * 2]
    tensors = [torch.randn(size, requires_grad=True) for size in sizes]
    plan = AttentionPlan(
        Packing.of(np.array(lengths), spare=spare),
        heads=HEADS,
        prompts=len(prompts),
        prefix=longest,
        row_prompt=np.array(of_rows),
        prefix_lengths=None if len(set(prompts)) == 1 else np.array(prompts),
        offsets=offsets,
        group_cost=cost,
    )
    with pytest.MonkeyPatch.context() as patch:
        if fused:
            patch.setattr(attention, "FUSED_FROM", 0)
        found = attend(tensors[0], tensors[1], tensors[2], (tensors[3], tensors[4]), plan, reads=reading)
    wanted = _plainly(tensors, lengths, prompts, of_rows, offsets)
    found = found[: len(wanted)]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    weights = torch.randn(wanted.shape)
    gradients = [torch.autograd.grad((outputs * weights).sum(), tensors) for outputs in (found, wanted)]
    # What spare tokens get does not matter.
    counted = [len(wanted), sum(lengths), sum(lengths), len(prompts), len(prompts)]
    for one, other, count in zip(*gradients, counted, strict=True):
        torch.testing.assert_close(one[:count], other[:count], rtol=1e-4, atol=1e-5)


def test_rows_of_one_length_are_one_grid() -> None:
    plan = AttentionPlan(Packing.of(np.array([4, 4, 4])), heads=HEADS)
    assert len(plan.groups) == 1
    assert plan.queries.empty is None


def _varlen(
    q: Tensor, k: Tensor, v: Tensor, q_ends: Tensor, k_ends: Tensor, *longest: int, window_size: tuple[int, int]
) -> Tensor:
    """What ``torch.nn.attention.varlen.varlen_attn`` documents, which runs on GPUs only."""
    signature(varlen.varlen_attn).bind(q, k, v, q_ends, k_ends, *longest, window_size=window_size)
    assert window_size == (-1, 0)
    assert longest == (int(q_ends.diff().max()), int(k_ends.diff().max()))
    outputs = []
    for (q_start, q_end), (k_start, k_end) in zip(pairwise(q_ends.tolist()), pairwise(k_ends.tolist()), strict=True):
        parts = (q[q_start:q_end], k[k_start:k_end], v[k_start:k_end])
        own_q, own_k, own_v = (part.transpose(0, 1) for part in parts)
        shape = q_end - q_start, k_end - k_start
        seen = torch.ones(shape, dtype=torch.bool).tril(shape[1] - shape[0])
        outputs.append(scaled_dot_product_attention(own_q, own_k, own_v, attn_mask=seen).transpose(0, 1))
    return torch.cat(outputs)


@pytest.mark.parametrize("prompts", [0, 2])
def test_variable_length_kernels_get_what_the_grids_compute(prompts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, spare = np.array([3, 1, 5]), 2
    tensors = [torch.randn(int(lengths.sum()) + spare, DIM, requires_grad=True) for _ in range(3)]
    prefix = (torch.randn(2, 4, DIM, requires_grad=True), torch.randn(2, 4, DIM, requires_grad=True))
    plan = AttentionPlan(
        Packing.of(lengths, spare=spare),
        heads=HEADS,
        prompts=prompts,
        prefix=4 if prompts else 0,
        row_prompt=np.array([1, 0, 1]) if prompts else None,
    )
    leaves = [*tensors, *(prefix if prompts else ())]
    results = []
    for kernels in (False, True):
        if kernels:
            monkeypatch.setattr(attention, "_fits_varlen", lambda *_: True)
            monkeypatch.setattr(attention, "varlen_attn", lambda: _varlen)
        outputs = attend(tensors[0], tensors[1], tensors[2], prefix if prompts else None, plan, reads=False)[:-spare]
        gradients = torch.autograd.grad((outputs * torch.arange(DIM)).sum(), leaves)
        results.append([outputs, *(part[:-spare] if part.dim() == 2 else part for part in gradients)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
