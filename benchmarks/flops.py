"""Hypothesis: a tuning step needs a third of the arithmetic of a full fine-tuning step.

Arms, counted by torch's FLOP counter on the meta device, at 12 x 1024, batches of 8 utterances in random order: the
reference's form (5 prompt rows, ``</s>``, units, ``<s>``; padded; scores at all positions) with all weights trained;
the prompted step on utterances padded to the same length; the prompted step as it is, packed. Headline: FLOPs relative
to full fine-tuning (want: at most 0.60 at equal padding, at most 0.33 packed where lengths are broad). What packing
saves is the padding, so it is told for two distributions of lengths.

    python -m benchmarks.flops
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.result import Result, markdown
from benchmarks.workload import FULL, broad_lengths, lengths_like_fsc
from workers.prompting.prompted_pass import PromptRows, PromptTensors, read_prompts
from workers.unit_lm.engine.packing import Packing
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.model import GSLM

TITLE = "FLOPs of a tuning step, 12 x 1024, batch 8"
PROMPT_LENGTH = 5


def meta_lm(config: GSLMConfig) -> GSLM:
    """An LM without numbers."""
    with torch.device("meta"):
        return GSLM(config)


def flops_of(step: Callable[[], Tensor]) -> int:
    """Floating-point operations of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step().sum().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def full_tuning(config: GSLMConfig, lengths: NDArray[np.int64]) -> int:
    """FLOPs of full fine-tuning of one padded batch in the reference's form."""
    lm = meta_lm(config)
    packing = Packing.of(np.full(len(lengths), lengths.max() + 2 + PROMPT_LENGTH), "meta")
    tokens = torch.zeros(len(packing.offsets), dtype=torch.int64, device="meta")
    return flops_of(lambda: lm.logits(lm(lm.embed_tokens(tokens), packing)))


def prompt_tuning(config: GSLMConfig, lengths: NDArray[np.int64]) -> int:
    """FLOPs of tuning a prompt on one batch."""
    lm = meta_lm(config).requires_grad_(False).eval()
    shape = (config.layers, PROMPT_LENGTH, config.dim)
    keys, values = (torch.empty(shape, device="meta", requires_grad=True) for _ in range(2))
    separators = torch.empty(1, config.dim, device="meta", requires_grad=True)
    rows = [np.full(length, 4) for length in lengths]
    return flops_of(lambda: read_prompts(lm, [PromptTensors(keys, values, separators)], [PromptRows(rows, 1)])[0])


def counted(count: Callable[[GSLMConfig, NDArray[np.int64]], int], lengths: NDArray[np.int64]) -> int:
    """FLOPs of one batch at the benchmark's depth: as all layers but the first and the last need the same, they are
    counted on LMs of two and of three."""
    two, three = (count(FULL.model_copy(update={"layers": layers}), lengths) for layers in (2, 3))
    return two + (FULL.layers - 2) * (three - two)


def measure(batches: int = 4) -> list[Result]:
    """The ratios over some batches."""
    results = []
    for name, draw, at_equal, at_packed in (
        ("broad lengths", broad_lengths, None, 0.33),
        ("lengths of FSC", lengths_like_fsc, 0.60, None),
    ):
        drawn = [draw(8, seed) for seed in range(batches)]
        full = sum(counted(full_tuning, lengths) for lengths in drawn)
        equal = sum(counted(prompt_tuning, np.full(8, lengths.max())) for lengths in drawn)
        packed = sum(counted(prompt_tuning, lengths) for lengths in drawn)
        tokens = sum(int(lengths.sum()) for lengths in drawn)
        note = f"{packed / tokens / 1e6:.0f} against {full / tokens / 1e6:.0f} MFLOPs per unit"
        results += [
            Result(f"prompted step / full fine-tuning, equal padding, {name}", equal / full, at_equal, "at most"),
            Result(f"the same, packed / padded, {name}", packed / full, at_packed, "at most", note),
        ]
    return results


if __name__ == "__main__":
    print(markdown(TITLE, measure()))
