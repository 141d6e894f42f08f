"""What a lane minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def separator_loss(
    scores: list[Tensor],
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[Tensor] | None = None,
) -> Tensor:
    """Cross-entropy at the separators, mean over examples and slots.

    Args:
        scores: class scores of each slot, [rows, classes of the slot].
        labels: class numbers, int64 [rows, slots].
        label_smoothing: share of the target that is spread over all classes.
        class_weights: by which an example's loss counts, by its label, float32 [classes] of each slot. The sum is
            divided by the rows and not, as torch does, by the weights of the rows that happen to be in the batch.
    """
    losses = []
    for slot, slot_scores in enumerate(scores):
        targets = labels[:, slot]
        if class_weights is None:
            losses.append(F.cross_entropy(slot_scores, targets, label_smoothing=label_smoothing))
        else:
            each = F.cross_entropy(slot_scores, targets, label_smoothing=label_smoothing, reduction="none")
            losses.append((class_weights[slot][targets] * each).mean())
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
