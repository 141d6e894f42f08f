"""What every verbalizer does: from what a reading gives to scores of classes, slot by slot.

Shapes: B rows, V inputs of the verbalizer, the scores of vocabulary tokens first, C classes of the slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from task_specs.recipe import Recipe


@dataclass(frozen=True)
class SlotMapping:
    """What one slot's classes are made of.

    Attributes:
        matrix: trained verbalizer, [special_rows + C, V]; ``None`` for a fixed one.
        tokens: token id of each class, int64 [C]; ``None`` for a trained one.
        special_rows: leading rows of ``matrix`` that stand for no class.
    """

    matrix: Tensor | None = None
    tokens: Tensor | None = None
    special_rows: int = 0


class Verbalizer(ABC):
    """A way from scores of vocabulary tokens to scores of classes; one file, and one line in ``kinds``."""

    one_unit_a_class: ClassVar[bool] = False
    """Whether each class stands for a unit of its own, which the manifest of a bundle then names."""

    @abstractmethod
    def shape(self, classes: int, *, inputs: int, special_rows: int) -> tuple[int, ...] | None:
        """Shape of a slot's trained tensor; ``None`` where nothing is trained."""

    @abstractmethod
    def initialise(self, tensor: Tensor, recipe: Recipe, generator: torch.Generator) -> None:
        """Set a slot's trained tensor to its initial values, in place, drawn from ``generator`` alone."""

    @abstractmethod
    def units(
        self,
        labels: NDArray[np.int64],
        units: NDArray[np.int16],
        *,
        classes: int,
        unit_tokens: NDArray[np.int64],
        seed: int,
    ) -> NDArray[np.int64] | None:
        """The unit of each class of a slot, int64 [C]; ``None`` where classes are no units.

        Args:
            labels: class numbers of the training split, int64 [examples].
            units: units of all its examples, without adjacent repeats, laid end to end, int16 [sum of lengths].
            classes: how many there are.
            unit_tokens: token of each unit, int64 [units]; of units that share one, the first alone is taken.
            seed: of the slot.
        """

    @abstractmethod
    def scores(self, logits: Tensor, mapping: SlotMapping) -> Tensor:
        """Class scores at the slot's separator, [B, V] to [B, C]."""

    @abstractmethod
    def outputs(self, logits: Tensor, mapping: SlotMapping) -> Tensor:
        """All that competes with the classes in loss ``paper``, [B, V] to [B, outputs]."""

    @abstractmethod
    def answers(self, labels: Tensor, mapping: SlotMapping) -> Tensor:
        """Which of ``outputs`` is right for each label, int64 [B]."""

    @abstractmethod
    def begin_and_end(self, bos: int, eos: int) -> tuple[int, int]:
        """Which of ``outputs`` stand for the begin and the end of a row, whose tokens are given."""

    @abstractmethod
    def matrix(self, mapping: SlotMapping) -> Tensor | None:
        """The trained linear map from vocabulary to classes, [C, V], whose use of units can be explained; ``None``
        where there is none."""
