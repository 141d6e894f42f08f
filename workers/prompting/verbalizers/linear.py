"""The trained verbalizer: one matrix a slot, without bias."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from task_specs.recipe import Recipe
from workers.prompting.verbalizers.verbalizer import SlotMapping, Verbalizer

BEGIN_ROW: Final = 0
END_ROW: Final = 2
"""Rows of ``<s>`` and ``</s>`` among the special ones ``<s> <pad> </s> <unk>`` of the reference's verbalizer."""


class Linear(Verbalizer):
    """Class scores as a linear map of what is read."""

    def shape(self, classes: int, *, inputs: int, special_rows: int) -> tuple[int, ...]:
        return (special_rows + classes, inputs)

    def initialise(self, tensor: Tensor, recipe: Recipe, generator: torch.Generator) -> None:
        if recipe.verbalizer_init == "zero":
            tensor.zero_()
        else:
            bound = tensor.shape[1] ** -0.5
            tensor.uniform_(-bound, bound, generator=generator)

    def units(self, *_: Any, **__: Any) -> None:
        return None

    def scores(self, logits: Tensor, mapping: SlotMapping) -> Tensor:
        return F.linear(logits, self.matrix(mapping))

    def outputs(self, logits: Tensor, mapping: SlotMapping) -> Tensor:
        assert mapping.matrix is not None  # noqa: S101
        return F.linear(logits, mapping.matrix)

    def answers(self, labels: Tensor, mapping: SlotMapping) -> Tensor:
        return labels + mapping.special_rows

    def begin_and_end(self, bos: int, eos: int) -> tuple[int, int]:  # noqa: ARG002
        return BEGIN_ROW, END_ROW

    def matrix(self, mapping: SlotMapping) -> Tensor:
        assert mapping.matrix is not None  # noqa: S101
        return mapping.matrix[mapping.special_rows :]
