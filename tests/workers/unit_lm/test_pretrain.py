from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fixtures.chain import CONFIG, UNIT_TOKENS, chain, pretraining, train_together, weights
from tests.fixtures.plain_lm import plain_logits
from tests.fixtures.processes import run_processes
from workers.speech.sequences import UnitSequences
from workers.unit_lm.gslm.model import GSLM
from workers.unit_lm.pretrain_rank import load_pretraining, read_sequences, save_pretraining, write_sequences
from workers.unit_lm.pretraining import BestPerplexity, Pretraining, PretrainSettings, TokenBatches


def test_perplexity_falls_towards_that_of_the_corpus() -> None:
    run = pretraining(dropout=0.0)
    before = run.validate()["perplexity"]
    losses = [float(run.advance()) for _ in range(40)]
    after = run.validate()["perplexity"]
    assert before > 8
    assert 1.9 < after < 4, "the corpus itself has about 2: the first unit, one step in ten, and the end are free"
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1
    assert after == pytest.approx(math.exp(np.mean(losses[-5:])), rel=0.3)


def test_perplexity_is_that_of_the_rows_one_by_one() -> None:
    run = pretraining(dropout=0.5)
    run.advance()
    nll, tokens = 0.0, 0
    valid = chain(20, seed=2)
    for index in range(len(valid)):
        units = UNIT_TOKENS[valid[index]]
        logits = plain_logits(run.lm, np.array([CONFIG.eos, *units]))
        targets = [*units, CONFIG.eos]
        shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        nll -= shares[np.arange(len(targets)), targets].sum()
        tokens += len(targets)
    assert run.validate()["perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-5)


@pytest.mark.parametrize("pause", [7, 20])
def test_a_resumed_run_goes_on_byte_for_byte(tmp_path: Path, pause: int) -> None:
    straight = pretraining(dropout=0.2)
    wanted = [float(straight.advance()) for _ in range(30)]
    first = pretraining(dropout=0.2)
    found = [float(first.advance()) for _ in range(pause)]
    save_pretraining(first, tmp_path, "run")
    torch.manual_seed(99)
    resumed = pretraining(dropout=0.2)
    load_pretraining(resumed, tmp_path, "run")
    found += [float(resumed.advance()) for _ in range(30 - pause)]
    assert found == wanted
    assert straight.batches.epoch > 1, "the pause is in another epoch"
    for name, tensor in weights(straight).items():
        assert torch.equal(tensor, weights(resumed)[name]), name
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "checkpoint.json",
        "lm.safetensors",
        "optimizer.safetensors",
        "progress.json",
    ]


def test_the_best_perplexity_is_the_lowest_and_the_first_of_equals() -> None:
    best = BestPerplexity()
    for step, perplexity in enumerate([math.nan, 9.0, 7.0, 8.0, 7.0, math.nan, math.inf], start=1):
        best.judge(step, perplexity)
    assert best == BestPerplexity(perplexity=7.0, step=3, evaluations_since=4)


@pytest.mark.parametrize(("patience", "evaluations"), [(None, 8), (1, 3), (3, 5)])
def test_patience_ends_a_run_also_a_resumed_one(tmp_path: Path, patience: int | None, evaluations: int) -> None:
    """Perplexities are made up: after the second evaluation none is better."""
    taken = 0
    run = pretraining(patience=patience)
    while not run.finished:
        for _ in range(5):
            run.advance()
        taken += 1
        run.best.judge(run.step, abs(taken - 2) + 3.0)
        save_pretraining(run, tmp_path, "run")
        run = pretraining(patience=patience)
        load_pretraining(run, tmp_path, "run")
    assert (taken, run.step) == (evaluations, 5 * evaluations)
    assert run.best == BestPerplexity(perplexity=3.0, step=10, evaluations_since=evaluations - 2)


def test_evaluating_changes_nothing() -> None:
    one, other = pretraining(dropout=0.2), pretraining(dropout=0.2)
    for _ in range(3):
        one.advance()
        other.advance()
        other.validate()["perplexity"]
    assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def test_dropout_follows_from_the_seed_alone_on_one_rank() -> None:
    def loss(**changes: Any) -> float:
        return float(pretraining(**changes).advance())

    torch.manual_seed(1)
    first = loss(dropout=0.5)
    torch.manual_seed(2)
    assert loss(dropout=0.5) == first
    assert loss(dropout=0.0) != first


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_ranks_and_steps_draw_dropout_of_their_own(dropout: float) -> None:
    """All rows are the same and nothing is learned, so that only what is dropped makes a difference."""
    rows = UnitSequences.of([[0, 1, 2]] * 64)
    losses = []
    for rank in (0, 1):
        lm = GSLM(CONFIG, dropout=dropout)
        lm.initialise(0)
        settings = PretrainSettings(batch_tokens=64, dropout=dropout, precision="fp32", learning_rate=1e-12)
        run = Pretraining(lm, settings, train=rows, valid=rows, unit_tokens=UNIT_TOKENS, rank=rank, world=2)
        losses += [float(run.advance()), float(run.advance())]
    assert len(set(losses)) == (4 if dropout else 1)


def test_two_ranks_equal_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    steps = 6
    run_processes(2, train_together, str(tmp_path), steps)
    both = [torch.load(tmp_path / str(rank), weights_only=True) for rank in (0, 1)]
    run = pretraining(dropout=0.0)
    wanted = torch.stack([run.advance() for _ in range(steps)])
    torch.testing.assert_close(torch.stack([one["losses"] for one in both]).mean(dim=0), wanted, rtol=1e-5, atol=0)
    for one in both:
        assert float(one["perplexity"]) == pytest.approx(run.validate()["perplexity"], rel=1e-5)
        for name, tensor in weights(run).items():
            # The bias of keys cancels in the softmax: its gradient is rounding alone, which Adam makes large.
            if not name.endswith("k_proj.bias"):
                torch.testing.assert_close(one["weights"][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(16, 100), st.integers(0, 3))
def test_every_epoch_holds_every_row_once_within_the_limit(lengths: list[int], limit: int, seed: int) -> None:
    rows = np.array(lengths)
    batches = TokenBatches(rows, batch_tokens=limit, seed=seed)
    order = iter(batches)
    for _ in range(2):
        drawn: list[int] = []
        while len(drawn) < len(rows):
            batch = next(order)
            assert rows[batch].sum() <= limit or len(batch) == 1
            drawn += batch.tolist()
        assert sorted(drawn) == list(range(len(rows)))


def test_batches_follow_from_the_seed_and_are_full() -> None:
    lengths = np.random.default_rng(0).integers(1, 30, size=500)

    def first(seed: int) -> list[list[int]]:
        return [batch.tolist() for batch in islice(TokenBatches(lengths, batch_tokens=200, seed=seed), 20)]

    assert first(0) == first(0)
    assert first(0) != first(1)
    tokens = [int((lengths[batch] + 1).sum()) for batch in first(0)]
    assert np.mean(tokens) > 160


def _by_hand(schedule: str) -> Callable[[int], float]:
    if schedule == "cosine":
        return lambda step: 0.5 * (0.05 + 0.95 * (1 + math.cos(math.pi * (step - 10) / 90)) / 2)
    return lambda step: 0.5 * math.sqrt(10 / (step + 1))


@pytest.mark.parametrize("schedule", ["cosine", "inverse_sqrt"])
def test_learning_rate(schedule: Any) -> None:
    settings = PretrainSettings(steps=100, warmup_steps=10, learning_rate=0.5, schedule=schedule)
    assert [settings.rate(step) for step in (0, 4, 9)] == pytest.approx([0.05, 0.25, 0.5])
    steps = [10, 30, 99, 100]
    assert [settings.rate(step) for step in steps] == pytest.approx([_by_hand(schedule)(step) for step in steps])


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match="batch_tokens"):
        PretrainSettings(batch_tokens=1)
    with pytest.raises(ValidationError, match="step_count"):
        PretrainSettings.model_validate({"step_count": 1})


def test_sequences_on_disk(tmp_path: Path) -> None:
    splits = {"train": chain(5, seed=1), "valid": chain(3, seed=2)}
    uri = write_sequences(str(tmp_path), splits)
    for split, wanted in splits.items():
        found = read_sequences(uri)[split]
        np.testing.assert_array_equal(found.flat, wanted.flat, strict=True)
        np.testing.assert_array_equal(found.offsets, wanted.offsets, strict=True)
