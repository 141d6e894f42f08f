"""What every objective of tuning says: the tokens fed, what is read, and the loss.

Shapes: B rows of a batch, S slots, V inputs of the verbalizer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from task_specs.recipe import Recipe
from workers.prompting.verbalizers.verbalizer import SlotMapping, Verbalizer


@dataclass(frozen=True)
class Batch:
    """Some rows of a batch after the pass.

    Attributes:
        read: inputs of the verbalizer, float32 [B, reads, V]; the reads are the last positions of each row.
        labels: class numbers, int64 [B, S].
        verbalizer: of the lane.
        slots: what each slot's classes are made of.
        recipe: of the lane.
        class_weights: by which an example's loss counts, by its label, float32 [classes] of each slot; ``None``: 1.
        source_tokens: tokens and separators of these rows.
        begin_and_end: the LM's tokens for the begin and the end of a row.
        drop: dropout on scores, by the lane's random stream, [B, outputs] to the same.
    """

    read: Tensor
    labels: Tensor
    verbalizer: Verbalizer
    slots: Sequence[SlotMapping]
    recipe: Recipe
    class_weights: Sequence[Tensor] | None
    source_tokens: int
    begin_and_end: tuple[int, int]
    drop: Callable[[Tensor], Tensor]


class Objective(ABC):
    """What a lane minimises; one file, and one line in ``kinds``."""

    special_rows: ClassVar[int] = 0
    """Rows of a trained verbalizer before its classes, for tokens that compete with them."""
    one_unit_a_class: ClassVar[bool] = False
    """Whether each class must have a unit of its own."""

    def fed_units(
        self,
        labels: NDArray[np.int64],  # noqa: ARG002
        classes: int,  # noqa: ARG002
        mapped: NDArray[np.int64] | None,  # noqa: ARG002
    ) -> NDArray[np.int64] | None:
        """The unit that is fed after the separators for each class of the last slot, int64 [classes].

        Args:
            labels: class numbers of the last slot on the training split, int64 [examples].
            classes: how many there are.
            mapped: unit of each class by the verbalizer; ``None`` for a trained one.

        Returns:
            ``None`` to feed nothing. Whatever feeds a unit also reads the position before the first separator.
        """
        return None

    @abstractmethod
    def row_weights(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """The share of each row in the mean over a batch, up to a factor, [B]; of its tokens and separators, int64."""

    @abstractmethod
    def evaluate_every(self, recipe: Recipe, batches_per_epoch: int) -> int:
        """Optimizer steps between evaluations, where the recipe does not say."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """The mean loss of these rows, float32 []."""
