"""Hypothesis: a reading of the whole utterance costs little more than that of the separators.

Arms by reading, prompts of length 5: the arithmetic of a tuning step at 12 x 1024, counted by torch's FLOP counter; the
time of a tuning step and of classifying at 4 x 192, alternated, batches of 32 utterances. Headline: each relative to
reading the separators alone (want: at most 1.05 times the arithmetic).

    python -m benchmarks.readings [--rounds N] [--busy]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.flops import flops_of, meta_lm
from benchmarks.result import Result, alternate, arguments, markdown, speed_ratio
from benchmarks.workload import FULL, SMALL, frozen_lm, lane, lengths_like_fsc
from task_specs.recipe import Read, Recipe
from workers.prompting.prompt import prompt_shape
from workers.prompting.prompted_pass import PromptRows, read_prompts
from workers.tuning.step.gang import Gang
from workers.unit_lm.gslm.model import GSLM

TITLE = "Readings, relative to the separators alone"
READS: tuple[Read, ...] = ("separator", "mean", "pooled")
BATCH = 32


def arithmetic(read: Read) -> int:
    """FLOPs of a tuning step, forward and backward, on an LM of four full-size layers."""
    config = FULL.model_copy(update={"layers": 4})
    lm = meta_lm(config).requires_grad_(False).eval()
    shape = prompt_shape(config, Recipe(read=read, prompt_length=5), [12])
    flat = torch.empty(shape.size, device="meta", requires_grad=True)
    rows = [np.full(length, 4) for length in lengths_like_fsc(8, 0)]
    return flops_of(lambda: read_prompts(lm, [shape.prompt(flat)], [PromptRows(rows, 1)])[0])


def tuning(lm: GSLM, read: Read) -> Callable[[], float]:
    """One optimizer step."""
    gang = Gang(lm, [lane(lm, seed=0, batch_size=BATCH, read=read)])

    def step() -> float:
        gang.step(gang.lanes)
        return BATCH

    return step


def classifying(lm: GSLM, read: Read) -> Callable[[], float]:
    """Scores of some utterances."""
    one = lane(lm, seed=0, batch_size=BATCH, rows=8 * BATCH, read=read)
    gang = Gang(lm, [one])

    def score() -> float:
        gang.predict(one, gang.adam.values[0], one.examples.splits["test"])
        return 8 * BATCH

    return score


def measure(rounds: int = 5, *, busy: bool = False) -> list[Result]:
    """The ratios of each reading."""
    counted = {read: arithmetic(read) for read in READS}
    lm = frozen_lm(SMALL)
    results = [
        Result(f"arithmetic of a tuning step, {read}", counted[read] / counted["separator"], 1.05, "at most")
        for read in READS[1:]
    ]
    for what, make in (("tuning step", tuning), ("classifying", classifying)):
        turns = alternate({read: make(lm, read) for read in READS}, rounds=rounds, seconds=2.0, busy=busy)
        results += [Result(f"time of {what}, {read}", speed_ratio(turns, "separator", read)) for read in READS[1:]]
    return results


if __name__ == "__main__":
    options = arguments(__doc__, rounds=5)
    print(markdown(TITLE, measure(options.rounds, busy=options.busy)))
