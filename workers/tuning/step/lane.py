"""A lane: one prompt being tuned, that is one task, one seed and one recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from task_specs.metric import METRICS, MetricName, Resampled
from task_specs.recipe import Recipe
from workers.bundle.format import Bundle
from workers.prompting.examples import Batches, SplitExamples, TaskExamples, check_examples
from workers.prompting.prompt import prompt_shape
from workers.prompting.prompt_init import begin_with_bundle, begin_with_units, initial_prompt
from workers.prompting.prompted_pass import PromptRows
from workers.prompting.sampling import class_weights, combinations, few_shot
from workers.prompting.verbalizer import by_frequency, check_unit_count, frequent_units, random_units
from workers.unit_lm.gslm import UnitLM

Stop = Literal["steps", "patience", "diverged", "dropped", "failed"]
"""Why a lane ended: all steps done, no more improvement, a loss that is not finite, others of its sweep were better, or
an error of its own."""

BEGIN_OUTPUT, END_OUTPUT = 0, 2


class SlotSpec(BaseModel):
    """One label of a task: its name and its classes in order."""

    model_config = ConfigDict(frozen=True)

    name: str
    labels: tuple[str, ...]


class LaneSpec(BaseModel):
    """What a lane is; two lanes with equal specs on the same backbone give the same prompt.

    Attributes:
        task: name of the task spec.
        slots: its labels.
        metric: what the kept prompt is best at, on the validation split.
        positive: the positive class of ``f1`` and ``eer``.
        bootstrap: what confidence intervals draw.
        shots: training examples of each combination of labels that the lane draws; ``None``: it takes all.
        seed: of initialisation, order, dropout, and that draw.
        recipe: how it is tuned.
        examples: URI of the encoded examples.
        examples_digest: their digest.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    slots: tuple[SlotSpec, ...]
    metric: MetricName
    positive: str | None = None
    bootstrap: Resampled = "utterances"
    shots: int | None = None
    seed: int
    recipe: Recipe
    examples: str
    examples_digest: str

    @property
    def name(self) -> str:
        """How people see it."""
        return f"{self.task}/seed{self.seed}"

    @property
    def positive_class(self) -> int | None:
        """Number of the positive class."""
        return None if self.positive is None else self.slots[0].labels.index(self.positive)


def drawn_examples(spec: LaneSpec, examples: TaskExamples) -> TaskExamples:
    """What the lane is tuned and measured on: all examples of its task, or few of the training split."""
    if spec.shots is None:
        return examples
    train = examples.splits["train"]
    drawn = train.take(few_shot(train.example_labels, spec.shots, seed=spec.seed))
    return TaskExamples({**examples.splits, "train": drawn})


@dataclass
class Progress:
    """How far a lane is; with the trained numbers this is all that a checkpoint holds."""

    step: int = 0
    best_score: tuple[float, float] | None = None
    best_step: int = 0
    evaluations_since_best: int = 0
    stopped: Stop | None = None
    """Why it stopped; ``None`` while it goes on."""


class Lane:
    """The fixed side of a lane: its data, its order, its targets, its schedule.

    Args:
        spec: what it is.
        examples: the task's encoded examples.
        lm: the frozen LM.
        unit_tokens: token id of each unit, int64 [units].
        donor: the bundle that the recipe begins with, on the same LM; ``None`` where it names none.

    Raises:
        TaskSpecError: a fixed verbalizer, or recipe ``paper``, with more classes than units.
        DatasetError: an example holds a unit or a class that there is not.
        BundleError: the donor's prompt has another length.
    """

    def __init__(
        self,
        spec: LaneSpec,
        *,
        examples: TaskExamples,
        lm: UnitLM,
        unit_tokens: NDArray[np.int64],
        donor: Bundle | None = None,
    ) -> None:
        recipe = spec.recipe
        classes = tuple(len(slot.labels) for slot in spec.slots)
        linear = recipe.verbalizer == "linear"
        paper = recipe.loss == "paper"
        check_unit_count(recipe, classes, len(np.unique(unit_tokens)), spec.task)
        check_examples(examples, classes, len(unit_tokens), spec.task)
        examples = drawn_examples(spec, examples)
        self.spec, self.examples, self.progress = spec, examples, Progress()
        self.shape = prompt_shape(lm.config, recipe, classes)
        self.generator = torch.Generator().manual_seed(spec.seed)
        self.initial = initial_prompt(self.shape, recipe, lm, self.generator)
        train = examples.splits["train"]
        self.batches = Batches(
            train.units.lengths,
            batch_size=recipe.batch_size,
            seed=spec.seed,
            groups=combinations(train.labels) if recipe.balance == "sampling" else None,
        )
        self.class_weights = self._class_weights(train) if recipe.balance == "weights" else None
        """Of the loss of each class of each slot, float32 [classes]."""
        self._unit_tokens = unit_tokens
        if donor is not None:
            begin_with_bundle(self.initial, self.shape, tuple(slot.labels for slot in spec.slots), donor)
        elif recipe.prompt_init == "units":
            begin_with_units(self.initial, self.shape, lm, self._rows_to_begin_with(), self.generator)
        self.mapped_units = None if linear else self._mapped_units(train)
        self.fed_tokens = unit_tokens[self._ranks(train)] if paper else None
        """Token of each class of the last slot that recipe ``paper`` feeds after the separators, int64 [classes]."""

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

    @property
    def active(self) -> bool:
        return self.progress.stopped is None

    @property
    def evaluate_every(self) -> int:
        """Optimizer steps between evaluations."""
        recipe = self.spec.recipe
        if recipe.evaluate_every is not None:
            return recipe.evaluate_every
        return self.batches.per_epoch if recipe.loss == "paper" else max(1, recipe.steps // 20)

    @property
    def evaluation_due(self) -> bool:
        step = self.progress.step
        return step % self.evaluate_every == 0 or step == self.spec.recipe.steps

    def rate(self, step: int) -> float:
        """Learning rate of the optimizer step ``step``, counted from 0."""
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
        prosody = [part for row in chosen if (part := examples.units.prosody_of(int(row))) is not None]
        return PromptRows(
            [self._unit_tokens[examples.units[int(row)]] for row in chosen],
            len(self.shape.classes),
            fed,
            read_last_unit=fed is not None,
            prosody=prosody or None,
            separator_prosody=self.spec.recipe.separator_prosody == "last",
        )

    def _rows_to_begin_with(self) -> PromptRows:
        """As many training rows as the prompt is long, drawn with the lane's seed; all of them several times if few."""
        train, wanted = self.examples.splits["train"], self.shape.length
        order = np.random.default_rng([self.spec.seed, 2]).permutation(len(train))
        rows = self.rows(train, np.resize(order, wanted))
        return replace(rows, slots=0, separator_prosody=False)

    def judge(self, figures: dict[str, float]) -> bool:
        """Take the figures of an evaluation on the validation split; returns whether they are the best so far."""
        recipe, progress = self.spec.recipe, self.progress
        if not math.isfinite(figures["loss"]):
            progress.stopped = "diverged"
            return False
        metric = 0.0
        if recipe.select_on == "metric":
            # Undefined on a draw of validation examples that lacks a class.
            metric = METRICS[self.spec.metric].score(figures[self.spec.metric])
        score = (metric, -figures["loss"])
        better = progress.best_score is None or score > progress.best_score
        if better:
            progress.best_score, progress.best_step, progress.evaluations_since_best = score, progress.step, 0
        else:
            progress.evaluations_since_best += 1
        if progress.step >= recipe.steps:
            progress.stopped = "steps"
        elif progress.evaluations_since_best >= recipe.patience:
            progress.stopped = "patience"
        return better

    def _class_weights(self, train: SplitExamples) -> list[NDArray[np.float32]]:
        return [class_weights(train.labels[:, slot], classes) for slot, classes in enumerate(self.shape.classes)]

    def _mapped_units(self, train: SplitExamples) -> list[NDArray[np.int64]]:
        if self.spec.recipe.verbalizer == "random":
            return [
                random_units(classes=classes, unit_tokens=self._unit_tokens, seed=self.spec.seed + slot)
                for slot, classes in enumerate(self.shape.classes)
            ]
        return [
            frequent_units(train.labels[:, slot], train.units.flat, classes=classes, unit_tokens=self._unit_tokens)
            for slot, classes in enumerate(self.shape.classes)
        ]

    def _ranks(self, train: SplitExamples) -> NDArray[np.int64]:
        """Unit number fed for each class of the last slot: the mapped unit, or the class's rank by frequency."""
        if self.mapped_units is not None:
            return self.mapped_units[-1]
        return np.argsort(by_frequency(train.labels[:, -1], self.shape.classes[-1]))
