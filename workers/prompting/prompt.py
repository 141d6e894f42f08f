"""What is trained, and therefore what is saved: the tensors of one prompt and how they lie in one flat vector."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from task_specs.recipe import Recipe
from workers.prompting.objectives.kinds import OBJECTIVES
from workers.prompting.prompted_pass import KEYS, SEPARATORS, VALUES, PromptTensors
from workers.prompting.readings.kinds import READINGS
from workers.prompting.verbalizers.kinds import VERBALIZERS
from workers.unit_lm.unit_lm import UnitLMConfig


def verbalizer_name(slot: int) -> str:
    """The name of a slot's trained verbalizer."""
    return f"verbalizer.{slot}"


@dataclass(frozen=True)
class PromptShape:
    """Sizes of one prompt.

    Attributes:
        layers, dim: of the unit LM.
        vocabulary: scores of the LM that a verbalizer reads.
        length: key and value vectors per layer.
        classes: number of classes of each slot.
        verbalizer: name of its verbalizer.
        special_rows: rows of a trained verbalizer before the classes, for tokens that compete with them in the loss;
            never read when classifying.
        reading: name of its reading.
    """

    layers: int
    length: int
    dim: int
    vocabulary: int
    classes: tuple[int, ...]
    verbalizer: str
    special_rows: int = 0
    reading: str = "separator"

    @cached_property
    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every trained tensor, in the order of the flat vector."""
        shapes: dict[str, tuple[int, ...]] = {
            KEYS: (self.layers, self.length, self.dim),
            VALUES: (self.layers, self.length, self.dim),
            SEPARATORS: (len(self.classes), self.dim),
            **READINGS[self.reading].shapes(layers=self.layers, dim=self.dim, slots=len(self.classes)),
        }
        kind = VERBALIZERS[self.verbalizer]
        for slot, classes in enumerate(self.classes):
            shape = kind.shape(classes, inputs=self.inputs, special_rows=self.special_rows)
            if shape is not None:
                shapes[verbalizer_name(slot)] = shape
        return shapes

    @property
    def inputs(self) -> int:
        """Inputs of the verbalizer: the scores at a separator, and the features of the reading."""
        return self.vocabulary + READINGS[self.reading].features(self.dim)

    @property
    def one_unit_a_class(self) -> bool:
        """Whether each class stands for a unit, and no verbalizer is trained."""
        return VERBALIZERS[self.verbalizer].one_unit_a_class

    @property
    def size(self) -> int:
        """Trained numbers."""
        return sum(math.prod(shape) for shape in self.tensors.values())

    @property
    def prefix_size(self) -> int:
        """Numbers of the key and value vectors, which come first in the flat vector."""
        return 2 * self.layers * self.length * self.dim

    def segments(self) -> Iterator[tuple[str, slice, tuple[int, ...]]]:
        """Name, place in the flat vector, and shape of every tensor."""
        start = 0
        for name, shape in self.tensors.items():
            yield name, slice(start, start + math.prod(shape)), shape
            start += math.prod(shape)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The tensors as views of a flat vector, [size or more]."""
        return {name: flat[place].view(shape) for name, place, shape in self.segments()}

    def prompt(self, flat: Tensor) -> PromptTensors:
        """The prompt whose numbers are those of a flat vector, [size or more]."""
        return PromptTensors.of(self.views(flat), READINGS[self.reading], scores=self.vocabulary)


def read_outputs(config: UnitLMConfig, recipe: Recipe) -> int:
    """How many of the LM's scores at a position the verbalizer reads, the units' first."""
    return config.outputs if recipe.channels == "all" else config.vocabulary


def prompt_shape(config: UnitLMConfig, recipe: Recipe, classes: Sequence[int]) -> PromptShape:
    """The sizes of a prompt that a recipe tunes on an LM, for slots of so many classes."""
    trains_nothing = VERBALIZERS[recipe.verbalizer].one_unit_a_class
    return PromptShape(
        layers=config.layers,
        length=recipe.prompt_length,
        dim=config.dim,
        vocabulary=read_outputs(config, recipe),
        classes=tuple(classes),
        verbalizer=recipe.verbalizer,
        special_rows=0 if trains_nothing else OBJECTIVES[recipe.loss].special_rows,
        reading=recipe.reading,
    )


def rate_scales(shape: PromptShape, recipe: Recipe) -> Tensor:
    """The factor on the learning rate of every trained number, float32 [size]."""
    scales = torch.ones(shape.size)
    for name, place, _ in shape.segments():
        if name == SEPARATORS:
            scales[place] = recipe.separator_lr_scale
        elif name not in (KEYS, VALUES):
            scales[place] = recipe.verbalizer_lr_scale
    return scales
