"""What the benchmarks tune and read: utterances like those of Fluent Speech Commands, and LMs of two sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from task_specs.example import SPLITS
from task_specs.recipe import Read, Recipe
from workers.prompting.examples import SplitExamples, TaskExamples
from workers.speech.sequences import UnitSequences
from workers.tuning.lane_spec import LaneSpec, SlotSpec
from workers.tuning.step.lane import Lane
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.model import GSLM

FULL = GSLMConfig(layers=12, dim=1024, heads=16, ffn_dim=4096)
"""The published GSLM, 151 M parameters."""
SMALL = GSLMConfig(layers=4, dim=192, heads=4, ffn_dim=768)
UNIT_TOKENS = np.arange(100, dtype=np.int64) + 4
CLASSES = 31


def lengths_like_fsc(count: int, seed: int) -> NDArray[np.int64]:
    """Units per utterance as in Fluent Speech Commands: mean 57, standard deviation 16; the longest of 8 has 81."""
    drawn = np.random.default_rng(seed).normal(57, 16, count)
    lengths: NDArray[np.int64] = np.clip(drawn.round(), 6, 124).astype(np.int64)
    return lengths


def broad_lengths(count: int, seed: int) -> NDArray[np.int64]:
    """Units per utterance where commands and sentences mix: log-normal, mean 59, deviation 31; of the places of a
    random batch of 8, padded, units fill 53 %, where those of Fluent Speech Commands fill 69 %."""
    sigma = np.sqrt(np.log(1 + (31 / 59) ** 2))
    drawn = np.random.default_rng(seed).lognormal(np.log(59) - sigma**2 / 2, sigma, count)
    lengths: NDArray[np.int64] = np.clip(drawn.round(), 6, 400).astype(np.int64)
    return lengths


def utterances(count: int, seed: int) -> UnitSequences:
    """Random units without adjacent repeats."""
    rng = np.random.default_rng([seed, 1])
    steps = (rng.integers(1, 100, length) for length in lengths_like_fsc(count, seed))
    return UnitSequences.of([np.cumsum(step) % 100 for step in steps])


def frozen_lm(config: GSLMConfig) -> GSLM:
    lm = GSLM(config)
    lm.initialise(0)
    return lm.requires_grad_(False).eval()


def lane(lm: GSLM, *, seed: int, batch_size: int, rows: int = 2048, read: Read = "separator") -> Lane:
    """One prompt to tune, of length 5 with a linear verbalizer."""
    labels = np.random.default_rng(seed).integers(CLASSES, size=(rows, 1))
    examples = SplitExamples(utterances(rows, seed), labels)
    spec = LaneSpec(
        task=f"task{seed}",
        slots=(SlotSpec(name="label", labels=tuple(map(str, range(CLASSES)))),),
        metric="accuracy",
        seed=seed,
        recipe=Recipe(batch_size=batch_size, steps=1_000_000, prompt_length=5, read=read),
        examples="",
        examples_digest="",
    )
    return Lane(spec, examples=TaskExamples(dict.fromkeys(SPLITS, examples)), lm=lm, unit_tokens=UNIT_TOKENS)
