"""Hypothesis: reading a label in one pass is far faster than decoding it token by token.

Arms, alternated, on the full-size LM and utterances of 60 units, both float32: ``read_prompts`` with the prompt's
keys and values computed once, as ``Classifier`` does; and the reference's way, in which a generator forces the
utterance token by token without incremental state, so that every token is one more full pass
(``benchmarks/reference_form.py``). Headline: utterances per second, one at a time (as the reference reads with its
linear verbalizer) and eight at a time (want: 50x).

    python -m benchmarks.one_shot [--rounds N] [--busy]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.reference_form import ReferenceForm, generate_label
from benchmarks.result import Result, alternate, arguments, markdown, speed, speed_ratio
from benchmarks.workload import CLASSES, FULL, UNIT_TOKENS, frozen_lm
from workers.prompting.prompted_pass import PromptRows, PromptTensors, read_prompts
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.model import GSLM

TITLE = "One-shot classification of 60 units, 12 x 1024"
UNITS, PROMPT_LENGTH = 60, 5


def arms(lm: GSLM, rows: int) -> dict[str, Callable[[], float]]:
    """Both ways to classify some utterances; they give the same labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (lm.config.layers, PROMPT_LENGTH, lm.config.dim)
    keys, values = (torch.randn(shape, generator=generator) for _ in range(2))
    prompt = PromptTensors(keys, values, torch.randn(1, lm.config.dim, generator=generator) * lm.config.dim**-0.5)
    matrix = torch.randn(CLASSES, lm.config.vocabulary, generator=generator)
    rng = np.random.default_rng(0)
    utterances = [UNIT_TOKENS[np.cumsum(rng.integers(1, 100, UNITS)) % 100] for _ in range(rows)]
    slow = ReferenceForm(lm, prompt)
    with torch.no_grad():
        fast = prompt.project(lm)

    def one_shot() -> torch.Tensor:
        with torch.no_grad():
            [logits] = read_prompts(lm, [fast], [PromptRows(utterances, 1)])
        return (logits[:, 0] @ matrix.T).argmax(dim=1)

    assert torch.equal(one_shot(), generate_label(slow, utterances, matrix))

    def counted(classify: Callable[[], torch.Tensor]) -> Callable[[], float]:
        return lambda: float(len(classify()))

    return {"one shot": counted(one_shot), "decoding": counted(lambda: generate_label(slow, utterances, matrix))}


def measure(rounds: int = 2, *, busy: bool = False, config: GSLMConfig = FULL) -> list[Result]:
    """The ratio for one utterance at a time and for eight."""
    lm, results = frozen_lm(config), []
    for rows in (1, 8):
        turns = alternate(arms(lm, rows), rounds=rounds, seconds=1.0, busy=busy, warm=True)
        fast, slow = speed(turns["one shot"]), speed(turns["decoding"])
        ratio = speed_ratio(turns, "one shot", "decoding")
        note = f"{fast:.1f} against {slow:.2f} utterances/s"
        results.append(Result(f"one shot / token by token, {rows} at a time", ratio, 50, note=note))
    return results


if __name__ == "__main__":
    options = arguments(__doc__, rounds=2)
    print(markdown(TITLE, measure(options.rounds, busy=options.busy)))
