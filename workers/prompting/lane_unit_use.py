"""Unit use of a lane that has ended, from the logits that its kept prompt makes the LM give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workers.prompting.examples import SplitExamples
from workers.prompting.gang import Gang
from workers.prompting.prompt import verbalizer_name
from workers.prompting.unit_use import unit_use
from workers.prompting.unit_use_file import LaneUnitUse

MOST_EXAMPLES = 2000
"""Training examples of the background, and test examples that are explained, at most."""


def lane_unit_use(gang: Gang, index: int, unit_tokens: Sequence[int]) -> LaneUnitUse | None:
    """Of a lane's kept prompt on the test split, against the mean of the training split; all ranks take part.

    Of either split at most ``MOST_EXAMPLES`` are looked at, a seeded draw that is the same for all lanes of a task.

    Args:
        gang: in which the lane still has its row.
        index: of the lane.
        unit_tokens: token id of each unit.

    Returns:
        ``None`` for a verbalizer that is not linear, of which there is nothing to find out.
    """
    lane = gang.lanes[index]
    shape = lane.shape
    if not shape.linear:
        return None
    test = _drawn(lane.examples.splits["test"])
    background = gang.read(index, _drawn(lane.examples.splits["train"]), best=True).double().mean(dim=0).cpu().numpy()
    logits = gang.read(index, test, best=True).double().cpu().numpy()
    views = shape.views(gang.best[index].double().cpu())
    units = np.full(shape.vocabulary, -1, dtype=np.int64)
    units[list(unit_tokens)] = np.arange(len(unit_tokens))
    # What several units share, <unk>, is none of them.
    shared, counts = np.unique(unit_tokens, return_counts=True)
    units[shared[counts > 1]] = -1
    return LaneUnitUse(
        [
            unit_use(
                logits[:, slot],
                test.labels[:, slot],
                views[verbalizer_name(slot)][shape.special_rows :].numpy(),
                background[slot],
            )
            for slot in range(len(shape.classes))
        ],
        units,
    )


def _drawn(examples: SplitExamples) -> SplitExamples:
    if examples.examples <= MOST_EXAMPLES:
        return examples
    return examples.take(np.sort(np.random.default_rng(0).permutation(examples.examples)[:MOST_EXAMPLES]))
