"""The objective of recipe ``paper``: that of the reference's released code."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from task_specs.recipe import Recipe
from workers.prompting.objectives.objective import Batch, Objective
from workers.prompting.verbalizers.fixed import by_frequency


class Paper(Objective):
    """From the prediction of the first separator to that of the end of the row, the label being fed back.

    Reads are: last unit, separators, label. They predict: ``<s>``, the labels, ``</s>``.
    """

    special_rows: ClassVar[int] = 4
    """``<s> <pad> </s> <unk>``."""
    one_unit_a_class: ClassVar[bool] = True

    def fed_units(self, labels: NDArray[np.int64], classes: int, mapped: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The verbalizer's unit, or else the class's rank by frequency."""
        return np.argsort(by_frequency(labels, classes)) if mapped is None else mapped

    def row_weights(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """The mean is over source tokens."""
        return tokens.astype(np.float64)

    def evaluate_every(self, recipe: Recipe, batches_per_epoch: int) -> int:  # noqa: ARG002
        return batches_per_epoch

    def loss(self, batch: Batch) -> Tensor:
        rows, slots = batch.labels.shape
        slot_of_read = [0, *range(slots), slots - 1]
        outputs = [
            batch.verbalizer.outputs(batch.read[:, place], batch.slots[slot]) for place, slot in enumerate(slot_of_read)
        ]
        if batch.slots[0].matrix is not None:
            # The reference drops the scores of its trained verbalizer and no others.
            outputs = list(map(batch.drop, outputs))
        answers = [batch.verbalizer.answers(batch.labels[:, place], slot) for place, slot in enumerate(batch.slots)]
        ends = batch.verbalizer.begin_and_end(*batch.begin_and_end)
        begin, end = (batch.labels.new_full((rows,), output) for output in ends)
        return paper_loss(outputs, torch.stack([begin, *answers, end], dim=1), tokens=batch.source_tokens)


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
