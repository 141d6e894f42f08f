"""A lane's next batch, its class scores, and the loss of the rows that one rank works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.prompting.objectives.objective import Batch
from workers.prompting.prompt import verbalizer_name
from workers.prompting.prompted_pass import PromptRows
from workers.prompting.verbalizers.verbalizer import SlotMapping
from workers.tuning.step.lane import Lane
from workers.tuning.step.process_group import Ranks
from workers.unit_lm.engine.packing import upload
from workers.unit_lm.unit_lm import UnitLMConfig


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
    train = lane.examples.splits["train"]
    batch = lane.batches[step]
    places = ranks.own(len(batch))
    if not len(places):
        # A batch with less rows than there are ranks: this one takes a row that counts for nothing.
        places = np.zeros(1, dtype=np.int64)
    chosen = batch[places]
    labels = train.labels[chosen]
    fed = None if lane.fed_tokens is None else lane.fed_tokens[labels[:, -1]]
    rows = lane.noisy_rows(chosen, step, places) if lane.noise else lane.rows(train, chosen, fed=fed)
    shares = lane.objective.row_weights(train.units.lengths[batch] + 1 + rows.tail)
    weight = shares[places].sum() / shares.sum() if ranks.rank < len(batch) else 0.0
    return TrainingRows(rows, labels, places, len(batch), float(weight))


def slot_scores(lane: Lane, flat: Tensor, read: Tensor) -> list[Tensor]:
    """Class scores of each slot, float32 [rows, classes].

    Args:
        lane: whose prompt it is.
        flat: its numbers, float32 [at least shape.size].
        read: inputs of its verbalizer, float32 [rows, slots, shape.inputs].
    """
    slots = slot_mappings(lane, flat)
    return [lane.verbalizer.scores(read[:, place], slot) for place, slot in enumerate(slots)]


def slot_mappings(lane: Lane, flat: Tensor) -> list[SlotMapping]:
    """What each slot's classes are made of, by a lane's numbers, float32 [at least shape.size]."""
    views, tokens = lane.shape.views(flat), lane.class_tokens
    return [
        SlotMapping(
            matrix=views.get(verbalizer_name(slot)),
            tokens=None if tokens is None else upload(tokens[slot].numpy(), flat.device),
            special_rows=lane.shape.special_rows,
        )
        for slot in range(len(lane.shape.classes))
    ]


def batch_loss(
    lane: Lane, flat: Tensor, read: Tensor, batch: TrainingRows, config: UnitLMConfig, generator: torch.Generator
) -> Tensor:
    """The loss of this rank's rows of a batch, float32 [].

    Args:
        lane: whose batch it is.
        flat: its numbers, float32 [at least shape.size].
        read: inputs of its verbalizer, float32 [rows, reads, shape.inputs].
        batch: the rows.
        config: of the LM.
        generator: the lane's random stream, from which dropout draws.
    """
    weights = lane.class_weights
    if (rate := lane.spec.recipe.read_dropout) > 0:
        read = read * _mask(rate, batch, read.shape[1:], generator, read.device)
    return lane.objective.loss(
        Batch(
            read=read,
            labels=upload(batch.labels, read.device),
            verbalizer=lane.verbalizer,
            slots=slot_mappings(lane, flat),
            recipe=lane.spec.recipe,
            class_weights=None if weights is None else [upload(slot, read.device) for slot in weights],
            source_tokens=sum(len(tokens) + 1 + batch.rows.tail for tokens in batch.rows.tokens),
            begin_and_end=(config.bos, config.eos),
            drop=lambda scores: _drop_scores(lane, scores, batch, generator),
        )
    )


def _drop_scores(lane: Lane, scores: Tensor, batch: TrainingRows, generator: torch.Generator) -> Tensor:
    """Dropout on single class scores, [rows, outputs]."""
    rate = lane.spec.recipe.dropout
    if not rate:
        return scores
    return scores * _mask(rate, batch, scores.shape[1:], generator, scores.device)


def _mask(
    rate: float, batch: TrainingRows, shape: Sequence[int], generator: torch.Generator, device: torch.device
) -> Tensor:
    """The mask of dropout for this rank's rows, float32 [rows, *shape]; all ranks draw that of the whole batch."""
    kept = torch.rand(batch.batch, *shape, generator=generator)[batch.places] >= rate
    return upload((kept.float() / (1 - rate)).numpy(), device)
