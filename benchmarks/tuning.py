"""Hypothesis: tuning in this engine sees twice the speech per second that the usual forms see, at equal precision.

Arms, alternated step by step on the full-size LM (12 x 1024), batch 8, utterances like Fluent Speech Commands:

* ours: ``Gang`` with one lane, float32 and ``precision: auto``, its own batches;
* (a) the reference's form (``benchmarks/reference_form.py``: prompt rows in the sequence, scores at all positions,
  padding), float32, with random batches and with length-sorted ones;
* (b) Hugging Face PEFT prefix tuning on an OPT of the same width, depth and vocabulary, float32, padded as Trainer's
  collator does. Needs the extra ``bench``.

Headline: units per second relative to each (want: 1.9x (a) random, 1.3x (a) sorted, 2x (b); with ``auto`` on a CPU with
bf16 units 2.5x (a)). Part of the float32 ratio is not the form: on CPUs other than Intel's torch's own float32
products take half the speed of oneDNN's, so the arms are also compared with torch's products in ours.

    python -m benchmarks.tuning [--rounds N] [--busy]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.reference_form import ReferenceForm, padded
from benchmarks.result import Result, alternate, arguments, markdown, speed, speed_ratio
from benchmarks.workload import CLASSES, FULL, UNIT_TOKENS, frozen_lm, lane, utterances
from workers.precision import Precision, has_bf16_units
from workers.prompting.prompted_pass import PromptRows, PromptTensors, read_prompts
from workers.tuning.step.gang import Gang
from workers.unit_lm.engine import frozen_linear
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.model import GSLM

TITLE = "Tuning, 12 x 1024, batch 8"
BATCH, ROWS, PROMPT_LENGTH = 8, 2048, 5
Arm = Callable[[], float]


def ours(lm: GSLM, precision: Precision) -> Arm:
    """One optimizer step of a gang of one lane."""
    gang = Gang(lm, [lane(lm, seed=0, batch_size=BATCH, rows=ROWS)], precision=precision)
    [only] = gang.lanes

    def step() -> float:
        units = only.lane.examples.splits["train"].units
        rows = only.lane.batches[only.progress.step]
        gang.step(gang.lanes)
        return float(units.lengths[rows].sum())

    return step


def on_torchs_products(arm: Arm) -> Arm:
    """The arm without oneDNN in float32."""

    def step() -> float:
        with mock.patch.object(frozen_linear, "_onednn", return_value=False):
            return arm()

    return step


def batches(*, by_length: bool) -> Iterator[list[NDArray[np.int64]]]:
    """Endless batches of unit tokens, of random utterances, or of neighbours in the order of length."""
    units = utterances(ROWS, 0)
    rng = np.random.default_rng(0)
    while True:
        order = np.argsort(units.lengths, kind="stable") if by_length else rng.permutation(len(units))
        parts = order.reshape(-1, BATCH)
        for part in parts[rng.permutation(len(parts))]:
            yield [UNIT_TOKENS[units[int(row)]] for row in part]


def reference(lm: GSLM, *, by_length: bool) -> Arm:
    """One step in the reference's form; the loss of this project, at the separators alone."""
    shape = (lm.config.layers, PROMPT_LENGTH, lm.config.dim)
    prompt = PromptTensors(torch.randn(shape), torch.randn(shape), lm.embed.weight[lm.config.eos][None].clone())
    model = ReferenceForm(lm, prompt)
    verbalizer = nn.Parameter(torch.zeros(CLASSES, lm.config.vocabulary))
    trained = [model.keys, model.values, model.separators, verbalizer]
    adam = torch.optim.Adam(trained, lr=5e-3, betas=(0.9, 0.98))
    drawn = batches(by_length=by_length)

    def step() -> float:
        rows = next(drawn)
        tokens, separator_at = padded(rows, lm)
        scores = model(tokens, separator_at) @ verbalizer.T
        at_separators = scores[torch.arange(len(rows)), PROMPT_LENGTH + separator_at]
        _descend(F.cross_entropy(at_separators, torch.arange(len(rows)) % CLASSES), adam, trained)
        return float(sum(map(len, rows)))

    return step


def peft_prefix_tuning(config: GSLMConfig) -> Arm:
    """One step of PEFT's prefix tuning of a causal LM; the class is the token after the separator.

    Raises:
        ModuleNotFoundError: the extra ``bench`` is not installed.
    """
    from peft import PrefixTuningConfig, TaskType, get_peft_model
    from transformers import OPTConfig, OPTForCausalLM

    opt = OPTForCausalLM(
        OPTConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.dim,
            word_embed_proj_dim=config.dim,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            ffn_dim=config.ffn_dim,
            max_position_embeddings=512,
            dropout=0.0,
            bos_token_id=config.bos,
            pad_token_id=config.pad,
            eos_token_id=config.eos,
        )
    )
    model = get_peft_model(opt, PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=PROMPT_LENGTH))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(trained, lr=5e-3)
    drawn = batches(by_length=False)

    def step() -> float:
        rows = next(drawn)
        longest = max(map(len, rows)) + 3
        tokens = torch.full((len(rows), longest), config.pad)
        labels, seen = torch.full_like(tokens, -100), torch.zeros_like(tokens)
        for place, row in enumerate(rows):
            answer = 4 + place % CLASSES
            filled = torch.tensor([config.start, *row, config.bos, answer])
            tokens[place, : len(filled)], seen[place, : len(filled)] = filled, 1
            labels[place, len(filled) - 1] = answer
        _descend(model(input_ids=tokens, attention_mask=seen, labels=labels).loss, adam, trained)
        return float(sum(map(len, rows)))

    return step


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer, trained: list[nn.Parameter]) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()


@torch.no_grad()
def check_equal(lm: GSLM) -> None:
    """The two forms give the same scores at the separators."""
    shape = (lm.config.layers, PROMPT_LENGTH, lm.config.dim)
    prompt = PromptTensors(torch.randn(shape), torch.randn(shape), torch.randn(1, lm.config.dim) * lm.config.dim**-0.5)
    rows = next(batches(by_length=False))
    [found] = read_prompts(lm, [prompt], [PromptRows(rows, 1)])
    tokens, separator_at = padded(rows, lm)
    wanted = ReferenceForm(lm, prompt)(tokens, separator_at)
    torch.testing.assert_close(
        found[:, 0], wanted[torch.arange(len(rows)), PROMPT_LENGTH + separator_at], rtol=1e-3, atol=1e-3
    )


def measure(rounds: int = 7, *, busy: bool = False) -> list[Result]:
    """All ratios."""
    lm = frozen_lm(FULL)
    check_equal(lm)
    arms = {
        "fp32": ours(lm, "fp32"),
        "fp32, torch's products": on_torchs_products(ours(lm, "fp32")),
        "auto": ours(lm, "auto"),
        "random": reference(lm, by_length=False),
        "sorted": reference(lm, by_length=True),
        "peft": peft_prefix_tuning(FULL),
    }
    turns = alternate(arms, rounds=rounds, seconds=1.0, busy=busy)

    def compare(mine: str, other: str, what: str, target: float | None) -> Result:
        note = f"{speed(turns[mine]):.0f} against {speed(turns[other]):.0f} units/s"
        return Result(what, speed_ratio(turns, mine, other), target, note=note)

    auto = 2.5 if has_bf16_units(torch.device("cpu")) else None
    return [
        compare("fp32", "random", "fp32 / (a) reference's form, random batches", 1.9),
        compare("fp32", "sorted", "fp32 / (a) reference's form, sorted batches", 1.3),
        compare("fp32", "peft", "fp32 / (b) PEFT prefix tuning of an OPT", 2.0),
        compare("auto", "random", "precision auto / (a) random batches", auto),
        compare("auto", "sorted", "precision auto / (a) sorted batches", None),
        compare("fp32, torch's products", "random", "fp32 without oneDNN / (a) random batches", None),
        compare("fp32, torch's products", "sorted", "fp32 without oneDNN / (a) sorted batches", None),
        compare("fp32, torch's products", "peft", "fp32 without oneDNN / (b) PEFT", None),
    ]


if __name__ == "__main__":
    options = arguments(__doc__, rounds=7)
    print(markdown(TITLE, measure(options.rounds, busy=options.busy)))
