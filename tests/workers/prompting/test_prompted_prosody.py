"""Prompts on a multi-stream LM: where durations and F0 stand beside units and separators, and who hears them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.fixtures.tuning import toy_examples
from workers.prompting.prompted_pass import PromptRows, PromptTensors, assemble, read_prompts
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.pgslm.config import PGSLMConfig
from workers.unit_lm.pgslm.model import PGSLM
from workers.unit_lm.pgslm.streams import prosody_inputs

Streams = Literal["discrete", "continuous"]
STREAMS: tuple[Streams, ...] = ("discrete", "continuous")
EDGES = (-0.5, 0.0, 0.5)


def _lm(streams: Streams) -> PGSLM:
    edges = EDGES if streams == "discrete" else ()
    config = PGSLMConfig(layers=2, dim=16, heads=2, ffn_dim=24, streams=streams, f0_edges=edges, duration_cap=5)
    lm = PGSLM(config)
    lm.initialise(0)
    return lm.requires_grad_(False).eval()


LMS = {streams: _lm(streams) for streams in STREAMS}


def _prompt(length: int, slots: int, seed: int) -> PromptTensors:
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, 2, length, 16, generator=generator)
    return PromptTensors(keys, values, torch.randn(slots, 16, generator=generator))


def _rows(lengths: list[int], *, slots: int, seed: int, last: bool = True) -> PromptRows:
    rng = np.random.default_rng(seed)
    prosody = [
        UnitProsody(rng.integers(1, 9, length).astype(np.int32), rng.normal(size=length).astype(np.float32))
        for length in lengths
    ]
    tokens = [rng.integers(0, 100, length) for length in lengths]
    return PromptRows(tokens, slots, prosody=prosody, separator_prosody=last)


@pytest.mark.parametrize(
    ("last", "present", "durations", "f0"),
    [
        (True, [1, 1, 1, 1, 0], [0, 0, 2, 5, 0], [5, 4, 1, 3, 0]),
        (False, [1, 1, 1, 0, 0], [0, 0, 2, 0, 0], [5, 4, 1, 0, 0]),
    ],
)
def test_each_position_hears_the_unit_before_it(
    last: bool, present: list[int], durations: list[int], f0: list[int]
) -> None:
    prosody = UnitProsody(np.array([2, 7], np.int32), np.array([-0.3, 0.9], np.float32))
    rows = PromptRows([np.array([10, 11])], slots=2, prosody=[prosody], separator_prosody=last)
    found = prosody_inputs(assemble([rows], start=100).rows, LMS["discrete"].config)
    assert found.present is not None
    # Begin, two units, two separators; the begin of F0 is id 4, its padding 5, and 7 frames count as 5.
    assert found.present.tolist() == present
    assert found.durations.tolist() == durations
    assert found.f0.tolist() == f0


def test_continuous_streams_keep_what_was_measured() -> None:
    prosody = UnitProsody(np.array([2, 70], np.int32), np.array([-0.3, 0.9], np.float32))
    rows = assemble([PromptRows([np.array([10, 11])], slots=1, prosody=[prosody])], start=100).rows
    found = prosody_inputs(rows, LMS["continuous"].config)
    assert found.durations.tolist() == [0, 0, 2, 70]
    assert found.f0.tolist() == pytest.approx([-5, 0, -0.3, 0.9])


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(STREAMS),
    st.lists(
        st.tuples(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 3), st.booleans()),
        min_size=1,
        max_size=3,
    ),
)
def test_prompts_that_share_a_pass_do_not_meet(streams: Streams, drawn: list[tuple[list[int], int, bool]]) -> None:
    lm = LMS[streams]
    prompts = [_prompt(1 + seed, slots, seed) for seed, (_, slots, _) in enumerate(drawn)]
    groups = [_rows(lengths, slots=slots, seed=seed, last=last) for seed, (lengths, slots, last) in enumerate(drawn)]
    for prompt, group, together in zip(prompts, groups, read_prompts(lm, prompts, groups), strict=True):
        assert together.shape == (len(group.tokens), group.reads, lm.config.outputs)
        [alone] = read_prompts(lm, [prompt], [group])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("streams", STREAMS)
def test_the_last_unit_is_heard_where_a_label_is_read_only_if_the_recipe_says_so(streams: Streams) -> None:
    def read(last: bool, duration: int) -> Tensor:
        prosody = [UnitProsody(np.array([2, duration], np.int32), np.array([0.1, 0.2], np.float32))]
        rows = PromptRows([np.array([10, 11])], slots=1, prosody=prosody, separator_prosody=last)
        [logits] = read_prompts(LMS[streams], [_prompt(2, 1, seed=0)], [rows])
        return logits

    assert not torch.equal(read(True, 1), read(True, 4))
    assert torch.equal(read(False, 1), read(False, 4))


@pytest.mark.parametrize("streams", STREAMS)
def test_units_without_prosody_last_one_frame_at_mean_pitch(streams: Streams) -> None:
    tokens = [np.array([10, 11, 12])]
    plain = UnitProsody(np.ones(3, np.int32), np.zeros(3, np.float32))
    outputs = [
        read_prompts(LMS[streams], [_prompt(2, 1, seed=0)], [PromptRows(tokens, 1, prosody=prosody)])[0]
        for prosody in (None, [plain])
    ]
    assert torch.equal(*outputs)


def test_examples_with_prosody_survive_storing() -> None:
    examples = toy_examples((3,), rows=6, prosody=True)
    restored = type(examples).from_bytes(examples.to_bytes())
    assert restored.digest() == examples.digest()
    assert restored.digest() != toy_examples((3,), rows=6).digest()
    for split, part in examples.splits.items():
        taken = restored.splits[split].units.take(np.array([4, 1]))
        for place, row in enumerate((4, 1)):
            wanted, found = part.units.prosody_of(row), taken.prosody_of(place)
            assert wanted is not None
            assert found is not None
            np.testing.assert_array_equal(found.durations, wanted.durations)
            np.testing.assert_array_equal(found.f0, wanted.f0)
