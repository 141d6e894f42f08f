"""What a lane minimises: class scores of its verbalizer, and the loss of the rows that one rank works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.prompting.prompt import SPECIAL_OUTPUTS, verbalizer_name
from workers.prompting.prompted_pass import PromptRows
from workers.prompting.verbalizer import class_scores
from workers.tuning.step.lane import BEGIN_OUTPUT, END_OUTPUT, Lane
from workers.tuning.step.process_group import Ranks
from workers.unit_lm.gslm import UnitLMConfig
from workers.unit_lm.packing import upload


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a lane's next batch that this rank works on.

    Attributes:
        rows: as the pass wants them.
        labels: their class numbers, int64 [rows, slots].
        places: where they stand in the batch, int64 [rows].
        batch: rows of the whole batch.
        weight: of their loss in that of the whole batch.
    """

    rows: PromptRows
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    batch: int
    weight: float


def training_rows(lane: Lane, step: int, ranks: Ranks) -> TrainingRows:
    """This rank's share of the batch of the lane's optimizer step ``step``, counted from 0."""
    train, paper = lane.examples.splits["train"], lane.spec.recipe.loss == "paper"
    batch = lane.batches[step]
    places = ranks.own(len(batch))
    if not len(places):
        # A batch with less rows than there are ranks: this one takes a row that counts for nothing.
        places = np.zeros(1, dtype=np.int64)
    chosen = batch[places]
    labels = train.labels[chosen]
    fed = None if lane.fed_tokens is None else lane.fed_tokens[labels[:, -1]]
    rows = lane.rows(train, chosen, fed=fed)
    # What the loss is a mean over: source tokens in recipe ``paper``, else examples.
    shares = train.units.lengths[batch] + 1 + rows.tail if paper else np.ones(len(batch))
    weight = shares[places].sum() / shares.sum() if ranks.rank < len(batch) else 0.0
    return TrainingRows(rows, labels, places, len(batch), float(weight))


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


def batch_loss(
    lane: Lane, flat: Tensor, logits: Tensor, batch: TrainingRows, config: UnitLMConfig, generator: torch.Generator
) -> Tensor:
    """The loss of this rank's rows of a batch, float32 [].

    Args:
        lane: whose batch it is.
        flat: its numbers, float32 [at least shape.size].
        logits: what its verbalizer reads, float32 [rows, reads, shape.vocabulary].
        batch: the rows.
        config: of the LM.
        generator: the lane's random stream, from which dropout draws.
    """
    targets = upload(batch.labels, logits.device)
    if lane.spec.recipe.loss == "paper":
        return _paper_loss(lane, flat, logits, targets, batch, config, generator)
    weights = None
    if lane.class_weights is not None:
        weights = [upload(slot, logits.device) for slot in lane.class_weights]
    smoothing = lane.spec.recipe.label_smoothing
    return separator_loss(slot_scores(lane, flat, logits), targets, label_smoothing=smoothing, class_weights=weights)


def _paper_loss(
    lane: Lane,
    flat: Tensor,
    logits: Tensor,
    labels: Tensor,
    batch: TrainingRows,
    config: UnitLMConfig,
    generator: torch.Generator,
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
        outputs = [_drop_scores(lane, output, batch, generator) for output in outputs]
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


def _drop_scores(lane: Lane, scores: Tensor, batch: TrainingRows, generator: torch.Generator) -> Tensor:
    """Dropout on single class scores, [rows, outputs]; all ranks draw the mask of the whole batch."""
    rate = lane.spec.recipe.dropout
    if not rate:
        return scores
    kept = torch.rand(batch.batch, scores.shape[1], generator=generator)[batch.places] >= rate
    return scores * upload((kept.float() / (1 - rate)).numpy(), scores.device)
