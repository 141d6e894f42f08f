"""The rows of a training batch that one rank works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.prompting.lane import Lane
from workers.prompting.prompted_pass import PromptRows
from workers.prompting.ranks import Ranks


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


def training_rows(lane: Lane, ranks: Ranks) -> TrainingRows:
    """This rank's share of the lane's next batch."""
    train, paper = lane.examples.splits["train"], lane.spec.recipe.loss == "paper"
    batch = lane.batches[lane.progress.step]
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
