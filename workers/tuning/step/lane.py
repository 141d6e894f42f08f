"""A lane: one prompt being tuned, that is one task, one seed and one recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from task_specs.metric import METRICS
from workers.bundle.format import Bundle
from workers.evaluation.metrics import Predictions, measure
from workers.prompting.examples import Batches, SplitExamples, TaskExamples, check_examples
from workers.prompting.objectives.kinds import OBJECTIVES, check_unit_count
from workers.prompting.prompt import prompt_shape
from workers.prompting.prompt_init import begin_with_bundle, begin_with_units, initial_prompt
from workers.prompting.prompted_pass import PromptRows
from workers.prompting.sampling import class_weights, combinations
from workers.prompting.unit_noise import UnitNoise
from workers.prompting.verbalizers.kinds import VERBALIZERS
from workers.tuning.lane_examples import drawn_examples
from workers.tuning.lane_spec import LaneSpec
from workers.tuning.step.lane_state import LaneState, Progress
from workers.unit_lm.unit_lm import UnitLM


class Lane:
    """Spec and data of a lane: its examples, their order, its targets, its schedule. Tuning changes nothing of it.

    Args:
        spec: what it is.
        examples: the task's encoded examples.
        lm: the frozen LM.
        unit_tokens: token id of each unit, int64 [units].
        donor: reads the bundle that the recipe begins with, on the same LM; ``None`` where it names none.

    Raises:
        TaskSpecError: a fixed verbalizer, or recipe ``paper``, with more classes than units.
        DatasetError: an example holds a unit or a class that there is not.
    """

    def __init__(
        self,
        spec: LaneSpec,
        *,
        examples: TaskExamples,
        lm: UnitLM,
        unit_tokens: NDArray[np.int64],
        donor: Callable[[], Bundle] | None = None,
    ) -> None:
        recipe = spec.recipe
        classes = tuple(len(slot.labels) for slot in spec.slots)
        self.verbalizer, self.objective = VERBALIZERS[recipe.verbalizer], OBJECTIVES[recipe.loss]
        check_unit_count(recipe, classes, len(np.unique(unit_tokens)), spec.task)
        check_examples(examples, classes, len(unit_tokens), spec.task)
        examples = drawn_examples(spec, examples)
        self.spec, self.examples = spec, examples
        self.shape = prompt_shape(lm.config, recipe, classes)
        train = examples.splits["train"]
        self.batches = Batches(
            train.units.lengths,
            batch_size=recipe.batch_size,
            seed=spec.seed,
            groups=combinations(train.labels) if recipe.balance == "sampling" else None,
        )
        self.class_weights = self._class_weights(train) if recipe.balance == "weights" else None
        """Of the loss of each class of each slot, float32 [classes]."""
        self.noise = UnitNoise(recipe.unit_dropout, recipe.unit_replacement, len(unit_tokens))
        """On the units of training rows."""
        self._unit_tokens, self._lm, self._donor = unit_tokens, lm, donor
        self.mapped_units = self._mapped_units(train)
        mapped = None if self.mapped_units is None else self.mapped_units[-1]
        fed = self.objective.fed_units(train.labels[:, -1], classes[-1], mapped)
        self.fed_tokens = None if fed is None else unit_tokens[fed]
        """Token of each class of the last slot that is fed after the separators, int64 [classes]; ``None`` for none."""

    def initial_state(self, restarts: int = 0) -> LaneState:
        """How a lane begins: everything is drawn with its seed, for ``prompt_init: units`` after a pass of the LM.

        Args:
            restarts: how often it has begun before; each time it draws other numbers.

        Raises:
            BundleError: the donor's prompt has another length, or the donor cannot be read.
        """
        spec, shape = self.spec, self.shape
        seed = np.random.SeedSequence([spec.seed, 4, restarts]).generate_state(1)[0] if restarts else spec.seed
        generator = torch.Generator().manual_seed(int(seed))
        values = initial_prompt(shape, spec.recipe, self._lm, generator)
        if self._donor is not None:
            begin_with_bundle(values, shape, tuple(slot.labels for slot in spec.slots), self._donor())
        elif spec.recipe.prompt_init == "units" and shape.length:
            begin_with_units(values, shape, self._lm, self._rows_to_begin_with(), generator)
        zeros = torch.zeros_like(values)
        return LaneState(values, values, zeros, zeros, generator.get_state(), Progress(), [])

    @cached_property
    def class_tokens(self) -> list[Tensor] | None:
        """Vocabulary token of each class of each slot, for a fixed verbalizer."""
        if self.mapped_units is None:
            return None
        return [torch.from_numpy(self._unit_tokens[units]) for units in self.mapped_units]

    @cached_property
    def selection(self) -> SplitExamples:
        """The validation examples that evaluations while tuning look at."""
        valid, limit = self.examples.splits["valid"], self.spec.recipe.validation_examples
        if limit is None or valid.examples <= limit:
            return valid
        chosen = np.sort(np.random.default_rng([self.spec.seed, 1]).permutation(valid.examples)[:limit])
        return valid.take(chosen)

    @cached_property
    def majority_score(self) -> float:
        """Score on ``selection``, more is better, of answering every utterance with the most frequent training class
        of each slot; NaN where the metric is undefined."""
        labels, classes = self.examples.splits["train"].labels, self.shape.classes
        frequent = [np.bincount(labels[:, slot], minlength=count).argmax() for slot, count in enumerate(classes)]
        scores = [
            np.tile(np.eye(count, dtype=np.float32)[chosen], (self.selection.examples, 1))
            for count, chosen in zip(classes, frequent, strict=True)
        ]
        metrics = measure(Predictions(scores, self.selection.example_labels), self.spec.positive_class)
        return METRICS[self.spec.metric].score(metrics.get(self.spec.metric, math.nan))

    @property
    def evaluate_every(self) -> int:
        """Optimizer steps between evaluations."""
        recipe = self.spec.recipe
        return recipe.evaluate_every or self.objective.evaluate_every(recipe, self.batches.per_epoch)

    def learning_rate(self, step: int) -> float:
        """Of the optimizer step ``step``, counted from 0."""
        recipe = self.spec.recipe
        if step < recipe.warmup_steps:
            return recipe.learning_rate * (step + 1) / recipe.warmup_steps
        if recipe.schedule == "constant":
            return recipe.learning_rate
        done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
        left = 1 - done if recipe.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return recipe.learning_rate * left

    def rows(
        self, examples: SplitExamples, chosen: NDArray[np.int64], *, fed: NDArray[np.int64] | None = None
    ) -> PromptRows:
        """Some examples as rows of a pass, with the tokens ``fed`` after their separators, int64 [chosen]."""
        return PromptRows(
            [self._unit_tokens[examples.units[int(row)]] for row in chosen],
            len(self.shape.classes),
            fed,
            read_last_unit=fed is not None,
            prosody=examples.units.prosody_of_rows(chosen),
            separator_prosody=self.spec.recipe.separator_prosody == "last",
        )

    def noisy_rows(self, chosen: NDArray[np.int64], step: int, places: NDArray[np.int64]) -> PromptRows:
        """Training examples as rows of a pass, with the recipe's noise on their units.

        Args:
            chosen: the examples, int64 [chosen].
            step: optimizer steps taken.
            places: where they stand in the batch; with seed and step, what the noise is drawn from, int64 [chosen].
        """
        units = self.examples.splits["train"].units
        noisy = [
            self.noise(units[row], units.prosody_of(row), np.random.default_rng([self.spec.seed, 3, step, place]))
            for row, place in zip(chosen.tolist(), places.tolist(), strict=True)
        ]
        prosody = [part for _, part in noisy if part is not None]
        return replace(
            self.rows(self.examples.splits["train"], chosen),
            tokens=[self._unit_tokens[row] for row, _ in noisy],
            prosody=prosody or None,
        )

    def _rows_to_begin_with(self) -> PromptRows:
        """As many training rows as the prompt is long, drawn with the lane's seed; all of them several times if few."""
        train, wanted = self.examples.splits["train"], self.shape.length
        order = np.random.default_rng([self.spec.seed, 2]).permutation(len(train))
        rows = self.rows(train, np.resize(order, wanted))
        return replace(rows, slots=0, separator_prosody=False)

    def _class_weights(self, train: SplitExamples) -> list[NDArray[np.float32]]:
        return [class_weights(train.labels[:, slot], classes) for slot, classes in enumerate(self.shape.classes)]

    def _mapped_units(self, train: SplitExamples) -> list[NDArray[np.int64]] | None:
        """Unit of each class of each slot; ``None`` for a verbalizer whose classes are no units."""
        slots = [
            self.verbalizer.units(
                train.labels[:, slot],
                train.units.flat,
                classes=classes,
                unit_tokens=self._unit_tokens,
                seed=self.spec.seed + slot,
            )
            for slot, classes in enumerate(self.shape.classes)
        ]
        found = [units for units in slots if units is not None]
        return found or None
