"""What a lane minimises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def separator_loss(scores: list[Tensor], labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy at the separators, mean over examples and slots.

    Args:
        scores: class scores of each slot, [rows, classes of the slot].
        labels: class numbers, int64 [rows, slots].
    """
    losses = [
        F.cross_entropy(slot_scores, labels[:, slot], label_smoothing=label_smoothing)
        for slot, slot_scores in enumerate(scores)
    ]
    return torch.stack(losses).mean()


def paper_loss(outputs: list[Tensor], targets: Tensor, *, tokens: int) -> Tensor:
    """The reference's loss: from the prediction of the separator to that of the end of the row.

    Args:
        outputs: output scores at each read position, [rows, outputs of the position]; special tokens and classes
            (or the whole vocabulary, without a verbalizer) compete.
        targets: row of ``outputs`` that is right, int64 [rows, positions].
        tokens: all source tokens of the batch, by which the sum is divided.
    """
    losses = [F.cross_entropy(output, targets[:, position], reduction="sum") for position, output in enumerate(outputs)]
    return torch.stack(losses).sum() / tokens
