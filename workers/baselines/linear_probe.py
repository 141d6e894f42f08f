"""Logistic regression on mean states of the frozen LM: what it hears without a prompt."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from task_specs.example import SPLITS
from workers.baselines.baseline import BaselineTask, Fitted
from workers.baselines.logistic import STRENGTHS, logistic, standardised
from workers.precision import Precision, autocast
from workers.speech.sequences import UnitSequences
from workers.unit_lm.engine.packing import kernel_size, starts_of
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.unit_lm import UnitLM

TOKENS = 8192
"""Packed tokens of a pass, about."""


def linear_probe(task: BaselineTask) -> Fitted:
    """Mean states of every utterance, each dimension with mean 0 and variance 1 over the training split, then logistic
    regression."""
    assert task.shared is not None  # noqa: S101
    lm, unit_tokens = task.shared.attach(task.device), np.array(task.shared.unit_tokens, dtype=np.int64)
    states = {
        split: mean_states(task.examples.splits[split].units, lm, unit_tokens, precision=task.precision)
        for split in SPLITS
    }
    return logistic(standardised(states), task, strengths=STRENGTHS)


def mean_states(
    units: UnitSequences, lm: UnitLM, unit_tokens: NDArray[np.int64], *, precision: Precision = "auto"
) -> NDArray[np.float32]:
    """Outputs of the LM's last layer, normed as its logits see them, mean over the units of each row.

    The start token, which is the same everywhere, is read but not counted.

    Returns:
        float32 [rows, dim].
    """
    means = np.zeros((len(units), lm.config.dim), dtype=np.float32)
    order = np.argsort(units.lengths, kind="stable")
    ends = np.cumsum(units.lengths[order] + 1)
    for rows in np.split(order, np.searchsorted(ends, np.arange(TOKENS, int(ends[-1]), TOKENS))):
        if len(rows):
            means[rows] = _pass(units, rows, lm, unit_tokens, precision)
    return means


def _pass(
    units: UnitSequences, rows: NDArray[np.int64], lm: UnitLM, unit_tokens: NDArray[np.int64], precision: Precision
) -> NDArray[np.float32]:
    tokens = [unit_tokens[units[int(row)]] for row in rows]
    count = sum(len(row) + 1 for row in tokens)
    inputs = Rows.of_units(
        tokens,
        units.prosody_of_rows(rows),
        start=lm.config.start,
        device=lm.device,
        spare=kernel_size(count) - count,
    )
    with torch.no_grad(), autocast(precision, lm.device):
        states = lm(lm.embed_rows(inputs), inputs.packing)[:count].float()
    lengths = inputs.packing.lengths
    counted = np.ones(count, dtype=bool)
    counted[starts_of(lengths)] = False
    of_units = states[torch.from_numpy(counted).to(lm.device)]
    means = torch.segment_reduce(of_units, "mean", lengths=torch.from_numpy(lengths - 1).to(lm.device))
    return means.cpu().numpy()
