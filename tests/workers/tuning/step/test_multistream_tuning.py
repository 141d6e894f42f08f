"""Pretraining a multi-stream LM and tuning prompts of it: what durations and F0 know is learnt."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from tests.fixtures.tuning import lane_spec
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.speech.sequences import UnitSequences
from workers.speech.unit_prosody import UnitProsody
from workers.tuning.step.gang import Gang
from workers.tuning.step.lane import Lane
from workers.unit_lm.kinds import build_lm
from workers.unit_lm.pgslm.config import PGSLMConfig
from workers.unit_lm.pretrain_rank import load_pretraining, read_sequences, save_pretraining, write_sequences
from workers.unit_lm.pretraining import Pretraining, PretrainSettings

Streams = Literal["discrete", "continuous"]
STREAMS: tuple[Streams, ...] = ("discrete", "continuous")
UNITS = 8
UNIT_TOKENS = np.arange(UNITS, dtype=np.int64)
SETTINGS = PretrainSettings(
    steps=60, batch_tokens=128, learning_rate=0.01, warmup_steps=5, dropout=0.1, precision="fp32", seed=3
)


def _config(streams: Streams) -> PGSLMConfig:
    edges = (-0.5, 0.0, 0.5) if streams == "discrete" else ()
    return PGSLMConfig(
        layers=1, dim=16, heads=2, ffn_dim=32, vocabulary=UNITS + 4, bos=UNITS, pad=UNITS + 1, eos=UNITS + 2,
        streams=streams, f0_edges=edges, duration_cap=12,
    )  # fmt: skip


def _melody(units: np.ndarray) -> UnitProsody:
    """Every unit has a duration and a pitch of its own."""
    return UnitProsody((units + 1).astype(np.int32), (np.sin(units) * 0.9).astype(np.float32))


def _corpus(rows: int, seed: int) -> UnitSequences:
    rng = np.random.default_rng(seed)
    units = [(rng.integers(UNITS) + np.arange(rng.integers(4, 12))) % UNITS for _ in range(rows)]
    return UnitSequences.of(units, [_melody(row) for row in units])


def _run(streams: Streams) -> Pretraining:
    lm = build_lm(_config(streams), dropout=SETTINGS.dropout)
    lm.initialise(SETTINGS.seed)
    return Pretraining(lm, SETTINGS, train=_corpus(80, 1), valid=_corpus(20, 2), unit_tokens=UNIT_TOKENS)


def _losses(run: Pretraining) -> torch.Tensor:
    corpus = _corpus(20, 2)
    run.lm.eval()
    with torch.no_grad():
        batch = run.objective.batch(corpus, np.arange(len(corpus)), UNIT_TOKENS)
        losses: torch.Tensor = run.objective(batch)
    return losses


@pytest.mark.parametrize("streams", STREAMS)
def test_all_streams_are_learnt(streams: Streams) -> None:
    run = _run(streams)
    before, untrained = _losses(run), run.validate()["perplexity"]
    for _ in range(SETTINGS.steps):
        run.advance()
    after = _losses(run)
    assert (after < 0.5 * before).all()
    assert run.validate()["perplexity"] < 2.5 < untrained
    figures = run.validate()
    predictions = float((_corpus(20, 2).lengths + 1).sum())
    assert figures == pytest.approx(
        {
            "perplexity": math.exp(after[0] / predictions),
            "duration_loss": float(after[1]) / predictions,
            "f0_loss": float(after[2]) / predictions,
        },
        rel=1e-4,
    )


@pytest.mark.parametrize("streams", STREAMS)
def test_a_resumed_run_goes_on_byte_for_byte(tmp_path: Path, streams: Streams) -> None:
    straight, first, resumed = _run(streams), _run(streams), _run(streams)
    wanted = [float(straight.advance()) for _ in range(12)]
    found = [float(first.advance()) for _ in range(5)]
    save_pretraining(first, tmp_path, "run")
    load_pretraining(resumed, tmp_path, "run")
    assert found + [float(resumed.advance()) for _ in range(7)] == wanted
    state = resumed.lm.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in straight.lm.state_dict().items())
    if streams == "discrete":
        assert not state["duration_embed.weight"][0].any(), "padding stays zero"


def test_sequences_are_stored_with_their_prosody(tmp_path: Path) -> None:
    written = {"train": _corpus(4, 1), "valid": _corpus(3, 2)}
    uri = write_sequences(str(tmp_path), written)
    for split, sequences in written.items():
        found = read_sequences(uri)[split]
        for name, array in sequences.arrays().items():
            np.testing.assert_array_equal(found.arrays()[name], array)


def _examples(*, heard: bool) -> TaskExamples:
    """The class of an utterance is how long its units last, or how high they are: units alone say nothing."""
    rng = np.random.default_rng(0)
    splits = {}
    for split in ("train", "valid", "test"):
        labels = np.arange(40) % 4
        units = [rng.permutation(UNITS)[: rng.integers(3, 7)] for _ in labels]
        prosody = [
            UnitProsody(
                np.full(len(row), 2 + 8 * (label % 2), np.int32), np.full(len(row), label // 2 - 0.4, np.float32)
            )
            for row, label in zip(units, labels, strict=True)
        ]
        splits[split] = SplitExamples(
            UnitSequences.of(units, prosody if heard else None), labels[:, None].astype(np.int64)
        )
    return TaskExamples(splits)  # type: ignore[arg-type]


RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"name": "paper", "learning_rate": 0.02, "patience": 100, "separator_init": "eos"},
    "all channels": {"channels": "all"},
    "last unit apart": {"separator_prosody": "none"},
}


@cache
def _accuracies(streams: Streams) -> dict[tuple[str, bool], float]:
    """On test of each recipe with and without prosody, all tuned in one gang."""
    lm = build_lm(_config(streams))
    lm.initialise(1)
    lm.requires_grad_(False).eval()
    settings: dict[str, Any] = {
        "steps": 300,
        "batch_size": 16,
        "warmup_steps": 5,
        "evaluate_every": 100,
        "learning_rate": 0.05,
    }
    lanes = {
        (recipe, heard): Lane(
            lane_spec((4,), **{**settings, **changes}), examples=_examples(heard=heard), lm=lm, unit_tokens=UNIT_TOKENS
        )
        for recipe, changes in RECIPES.items()
        for heard in (True, False)
    }
    for (recipe, _), lane in lanes.items():
        assert lane.shape.vocabulary == (lm.config.outputs if recipe == "all channels" else UNITS + 4)
    gang = Gang(lm, list(lanes.values()), precision="fp32")
    while gang.run_to_evaluation():
        pass
    found = {}
    for number, (name, lane) in enumerate(lanes.items()):
        figures = gang.predict(lane, gang.best[number], lane.examples.splits["test"])
        found[name] = float((figures.classes == figures.labels).mean())
    return found


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("streams", STREAMS)
def test_prompts_hear_durations_and_pitch(streams: Streams, recipe: str) -> None:
    accuracies = _accuracies(streams)
    assert accuracies[recipe, True] > 0.6
    assert accuracies[recipe, False] < 0.5
