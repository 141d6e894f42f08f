"""Logistic regression on mean states of the frozen LM: what it hears without a prompt."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from task_specs.example import SPLITS
from workers.baselines.kind import Fitted
from workers.baselines.logistic import logistic
from workers.precision import Precision, autocast
from workers.prompting.examples import TaskExamples
from workers.prompting.prompted_pass import PromptRows, prosody_inputs
from workers.speech.sequences import UnitSequences
from workers.tuning.step.lane import LaneSpec
from workers.unit_lm.gslm import UnitLM
from workers.unit_lm.packing import Packing, kernel_size, starts_of
from workers.unit_lm.pgslm import MultistreamLM

TOKENS = 8192
"""Packed tokens of a pass, about."""
STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def linear_probe(
    examples: TaskExamples,
    spec: LaneSpec,
    lm: UnitLM,
    unit_tokens: NDArray[np.int64],
    *,
    precision: Precision = "auto",
) -> Fitted:
    """Mean states of every utterance, each dimension with mean 0 and variance 1 over the training split, then logistic
    regression.

    Args:
        examples: of the task.
        spec: its slots, metric and seed.
        lm: the frozen LM, on its device.
        unit_tokens: token id of each unit, int64 [units].
        precision: of the LM's matrix products.
    """
    states = {
        split: mean_states(examples.splits[split].units, lm, unit_tokens, precision=precision) for split in SPLITS
    }
    scaler = StandardScaler().fit(states["train"])
    features = {split: scaler.transform(states[split]) for split in SPLITS}
    return logistic(features, examples, spec, strengths=STRENGTHS)


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
    device = lm.embed.weight.device
    pieces = [unit_tokens[units[int(row)]] for row in rows]
    lengths = np.array([len(piece) + 1 for piece in pieces], dtype=np.int64)
    tokens = np.full(int(lengths.sum()), lm.config.start, dtype=np.int64)
    starts = starts_of(lengths)
    counted = np.ones(len(tokens), dtype=bool)
    counted[starts] = False
    tokens[counted] = np.concatenate(pieces)
    spare = kernel_size(len(tokens)) - len(tokens)
    with torch.no_grad(), autocast(precision, device):
        x = lm.embed_tokens(torch.from_numpy(tokens).to(device))
        if isinstance(lm, MultistreamLM):
            heard = [part for row in rows if (part := units.prosody_of(int(row))) is not None]
            group = PromptRows(pieces, 0, prosody=heard or None, separator_prosody=False)
            x = x + lm.prosody_terms(prosody_inputs([group], lm.config, device=device))
        x = torch.nn.functional.pad(x, (0, 0, 0, spare))
        states = lm(x, Packing.of(lengths, device, spare=spare))[: len(tokens)].float()
    of_units = states[torch.from_numpy(counted).to(device)]
    means = torch.segment_reduce(of_units, "mean", lengths=torch.from_numpy(lengths - 1).to(device))
    return means.cpu().numpy()
