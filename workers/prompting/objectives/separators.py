"""The objective of recipe ``default``: the class at each separator, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from task_specs.recipe import Recipe
from workers.prompting.objectives.objective import Batch, Objective


class Separators(Objective):
    """Cross-entropy of the class scores."""

    def row_weights(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.ones(len(tokens))

    def evaluate_every(self, recipe: Recipe, batches_per_epoch: int) -> int:  # noqa: ARG002
        return max(1, recipe.steps // 20)

    def loss(self, batch: Batch) -> Tensor:
        scores = [batch.verbalizer.scores(batch.read[:, place], slot) for place, slot in enumerate(batch.slots)]
        return separator_loss(
            scores, batch.labels, label_smoothing=batch.recipe.label_smoothing, class_weights=batch.class_weights
        )


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
