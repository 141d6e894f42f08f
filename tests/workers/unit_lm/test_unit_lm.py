from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tests.fixtures.golden import expected, toy_lm
from tests.fixtures.plain_lm import plain_logits
from tests.fixtures.shared_data import shared_folder
from tests.fixtures.tuning import TINY, tiny_lm
from workers.unit_lm.engine.layer import sinusoids
from workers.unit_lm.engine.packing import Packing, starts_of
from workers.unit_lm.engine.rows import Prefix, Reads
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.model import GSLM

LM = tiny_lm()
LENGTHS = st.lists(st.integers(1, 10), min_size=1, max_size=6)


def _rows(lengths: list[int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, TINY.vocabulary, (length,), generator=generator) for length in lengths]


def _states(rows: list[Tensor], prefix: Prefix | None = None, reads: Reads | None = None) -> Tensor:
    packing = Packing.of(np.array([len(row) for row in rows]))
    return LM(LM.embed_tokens(torch.cat(rows)), packing, prefix=prefix, reads=reads)  # type: ignore[no-any-return]


def _prompt(length: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, TINY.layers, length, TINY.dim, generator=generator)
    return keys, values


def _prefix(length: int, rows: int, seed: int = 5) -> Prefix:
    keys, values = _prompt(length, seed)
    return Prefix(keys[None], values[None], np.zeros(rows, dtype=np.int64))


def _close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_matches_the_reference() -> None:
    folder = shared_folder("golden/gslm")
    lm, gold = toy_lm(folder), expected(folder / "expected.npz")
    packing = Packing.of(gold["lengths"])
    tokens, targets = (torch.from_numpy(gold[name][gold["mask"]]) for name in ("tokens", "target"))
    logits = lm.logits(lm(lm.embed_tokens(tokens), packing))
    np.testing.assert_allclose(logits.numpy(), gold["logits"][gold["mask"]], rtol=0, atol=2e-5)
    nll = F.cross_entropy(logits, targets, reduction="none").numpy()
    np.testing.assert_allclose(np.add.reduceat(nll, starts_of(packing.lengths)), gold["nll"], rtol=1e-5)


def test_size_of_the_published_model() -> None:
    with torch.device("meta"):
        lm = GSLM(GSLMConfig(layers=12, dim=1024, heads=16, ffn_dim=4096))
    assert sum(parameter.numel() for parameter in lm.parameters()) == 151_263_232


def test_matches_the_plain_formulas() -> None:
    [row] = _rows([9])
    keys, values = _prompt(4, seed=1)
    prefix = Prefix(keys[None], values[None], np.zeros(1, dtype=np.int64))
    for given_prefix, arrays in (
        (None, {}),
        (prefix, {"keys": keys.double().numpy(), "values": values.double().numpy()}),
    ):
        found = LM.logits(_states([row], given_prefix))
        np.testing.assert_allclose(found.numpy(), plain_logits(LM, row.numpy(), **arrays), rtol=1e-4, atol=1e-5)


def test_positions_are_in_two_halves_and_begin_after_pad() -> None:
    table = sinusoids(4, 6, pad=1)
    angles = 3 * 10000.0 ** -(np.arange(3) / 2)
    np.testing.assert_allclose(table[3], np.concatenate([np.sin(angles), np.cos(angles)]), rtol=1e-5)
    assert not table[1].any()


@settings(deadline=None, max_examples=25)
@given(LENGTHS, st.sampled_from([None, 3]))
def test_packed_rows_equal_rows_alone(lengths: list[int], prompt_length: int | None) -> None:
    rows = _rows(lengths)

    def states(rows: list[Tensor]) -> Tensor:
        return _states(rows, None if prompt_length is None else _prefix(prompt_length, len(rows)))

    for found, row in zip(states(rows).split(lengths), rows, strict=True):  # type: ignore[no-untyped-call]
        _close(found, states([row]))


@settings(deadline=None, max_examples=25)
@given(LENGTHS, st.sampled_from([None, 3]), st.integers(1, 3), st.data())
def test_reads_equal_the_same_positions_of_the_full_pass(
    lengths: list[int], prompt_length: int | None, count: int, data: st.DataObject
) -> None:
    rows = _rows(lengths)
    prefix = None if prompt_length is None else _prefix(prompt_length, len(rows))
    offsets = torch.tensor(
        [[data.draw(st.integers(0, length - 1)) for _ in range(count)] for length in lengths], dtype=torch.int64
    )
    starts = torch.tensor([0, *np.cumsum(lengths)[:-1].tolist()])
    reads = Reads(tokens=(starts[:, None] + offsets).flatten(), offsets=offsets.numpy())
    _close(_states(rows, prefix, reads), _states(rows, prefix)[reads.tokens])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), min_size=1, max_size=4))
def test_prompts_of_different_lengths_share_a_pass(prompts: list[tuple[int, int]]) -> None:
    lengths, prompt_lengths = [list(part) for part in zip(*prompts, strict=True)]
    rows = _rows(lengths)
    longest = max(prompt_lengths)
    # What stands in the unused places must not matter, so it is large.
    keys = torch.full((len(rows), TINY.layers, longest, TINY.dim), 1e3)
    values = keys.clone()
    for index, length in enumerate(prompt_lengths):
        keys[index, :, :length], values[index, :, :length] = _prompt(length, seed=index)
    # Row r attends to the prompt at place n - 1 - r, so a mixed-up prompt is seen.
    order = np.arange(len(rows))[::-1].copy()
    together = _states(rows, Prefix(keys[order], values[order], order, np.array(prompt_lengths)[order])).split(lengths)  # type: ignore[no-untyped-call]
    for index, row in enumerate(rows):
        one_keys, one_values = _prompt(prompt_lengths[index], seed=index)
        alone = Prefix(one_keys[None], one_values[None], np.zeros(1, dtype=np.int64))
        _close(together[index], _states([row], alone))


def test_later_tokens_do_not_change_earlier_outputs() -> None:
    [row] = _rows([8])
    other = row.clone()
    other[5:] = (other[5:] + 1) % TINY.vocabulary
    before, after = _states([row]), _states([other])
    assert torch.equal(before[:5], after[:5])
    assert not torch.allclose(before[5:], after[5:])


def test_a_prompt_gets_gradients_from_its_own_rows_only() -> None:
    rows = _rows([4, 6])
    keys, values = (torch.randn(2, TINY.layers, 3, TINY.dim, requires_grad=True) for _ in range(2))
    states = _states(rows, Prefix(keys, values, np.array([0, 1])))
    states[4:].square().sum().backward()  # type: ignore[no-untyped-call]
    for gradient in (keys.grad, values.grad):
        assert gradient is not None
        assert not gradient[0].any()
        assert gradient[1].abs().amax(dim=(1, 2)).min() > 0, "every layer's prompt has an effect"


def test_position_table_grows_with_the_longest_row() -> None:
    [row] = _rows([1500])
    lm = tiny_lm()
    lm(lm.embed_tokens(row[:3]), Packing.of(np.array([3])))
    found = lm(lm.embed_tokens(row), Packing.of(np.array([1500])))
    assert torch.equal(found, tiny_lm()(lm.embed_tokens(row), Packing.of(np.array([1500]))))
    assert torch.equal(lm._positions[1025:], sinusoids(len(lm._positions), TINY.dim, TINY.pad)[1025:])


def test_initial_weights_come_from_the_seed() -> None:
    config = GSLMConfig(layers=1, dim=64, heads=2, ffn_dim=128)

    def fresh(seed: int) -> dict[str, Tensor]:
        lm = GSLM(config)
        lm.initialise(seed)
        return lm.state_dict()

    first, again, other = fresh(1), fresh(1), fresh(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])
    assert not first["embed.weight"][config.pad].any()
    assert float(first["embed.weight"].std()) == pytest.approx(64**-0.5, rel=0.05)
    # Xavier with gain 1/sqrt(2) for the three input projections, with gain 1 elsewhere.
    assert float(first["layers.0.q_proj.weight"].abs().max()) == pytest.approx((3 / 64) ** 0.5 / 2**0.5, rel=0.02)
    assert float(first["layers.0.fc1.weight"].abs().max()) == pytest.approx((6 / 192) ** 0.5, rel=0.02)
    assert not any(tensor.any() for name, tensor in first.items() if name.endswith("bias"))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="dim 20 is not a multiple of twice the heads, 4"):
        GSLMConfig(layers=1, dim=20, heads=4, ffn_dim=8)
