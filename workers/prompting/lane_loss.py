"""What a lane's verbalizer makes of the LM's scores: class scores, and the loss of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.backbone.packing import upload
from workers.backbone.unit_lm import UnitLMConfig
from workers.prompting.lane import BEGIN_OUTPUT, END_OUTPUT, Lane
from workers.prompting.loss import paper_loss, separator_loss
from workers.prompting.prompt import SPECIAL_OUTPUTS, verbalizer_name
from workers.prompting.training_rows import TrainingRows
from workers.prompting.verbalizer import class_scores


def slot_scores(lane: Lane, flat: Tensor, logits: Tensor) -> list[Tensor]:
    """Class scores of each slot, float32 [rows, classes].

    Args:
        lane: whose prompt it is.
        flat: its numbers, float32 [at least shape.size].
        logits: what its verbalizer reads at the separators, float32 [rows, slots, shape.vocabulary].
    """
    shape, views = lane.shape, lane.shape.views(flat)
    if shape.linear:
        return [
            class_scores(logits[:, slot], matrix=views[verbalizer_name(slot)], special_rows=shape.special_rows)
            for slot in range(len(shape.classes))
        ]
    assert lane.class_tokens is not None  # noqa: S101
    return [
        class_scores(logits[:, slot], tokens=upload(tokens.numpy(), logits.device))
        for slot, tokens in enumerate(lane.class_tokens)
    ]


def batch_loss(lane: Lane, flat: Tensor, logits: Tensor, batch: TrainingRows, config: UnitLMConfig) -> Tensor:
    """The loss of this rank's rows of a batch, float32 [].

    Args:
        lane: whose batch it is; dropout draws from its random stream.
        flat: its numbers, float32 [at least shape.size].
        logits: what its verbalizer reads, float32 [rows, reads, shape.vocabulary].
        batch: the rows.
        config: of the LM.
    """
    targets = upload(batch.labels, logits.device)
    if lane.spec.recipe.loss == "paper":
        return _paper_loss(lane, flat, logits, targets, batch, config)
    weights = None
    if lane.class_weights is not None:
        weights = [upload(slot, logits.device) for slot in lane.class_weights]
    smoothing = lane.spec.recipe.label_smoothing
    return separator_loss(slot_scores(lane, flat, logits), targets, label_smoothing=smoothing, class_weights=weights)


def _paper_loss(
    lane: Lane, flat: Tensor, logits: Tensor, labels: Tensor, batch: TrainingRows, config: UnitLMConfig
) -> Tensor:
    """Reads are: last unit, separators, label. They predict: ``<s>``, the labels, ``</s>``."""
    shape = lane.shape
    rows, slots = labels.shape
    slot_of_read = [0, *range(slots), slots - 1]
    begin, end = (BEGIN_OUTPUT, END_OUTPUT) if shape.linear else (config.bos, config.eos)
    bos, eos = labels.new_full((rows, 1), begin), labels.new_full((rows, 1), end)
    if shape.linear:
        matrices = [shape.views(flat)[verbalizer_name(slot)] for slot in range(slots)]
        outputs = [F.linear(logits[:, read], matrices[slot]) for read, slot in enumerate(slot_of_read)]
        outputs = [_drop_scores(lane, output, batch) for output in outputs]
        answers = labels + SPECIAL_OUTPUTS
    else:
        assert lane.class_tokens is not None  # noqa: S101
        outputs = list(logits.unbind(1))
        columns = [
            upload(tokens.numpy(), labels.device)[labels[:, slot]] for slot, tokens in enumerate(lane.class_tokens)
        ]
        answers = torch.stack(columns, dim=1)
    source_tokens = sum(len(tokens) + 1 + batch.rows.tail for tokens in batch.rows.tokens)
    return paper_loss(outputs, torch.cat([bos, answers, eos], dim=1), tokens=source_tokens)


def _drop_scores(lane: Lane, scores: Tensor, batch: TrainingRows) -> Tensor:
    """Dropout on single class scores, [rows, outputs]; all ranks draw the mask of the whole batch."""
    rate = lane.spec.recipe.dropout
    if not rate:
        return scores
    kept = torch.rand(batch.batch, scores.shape[1], generator=lane.generator)[batch.places] >= rate
    return scores * upload((kept.float() / (1 - rate)).numpy(), scores.device)
