"""Pretraining of a unit LM on unlabelled units, over packed batches, data-parallel.

Every rank draws the same global batch from the seed and works on its own rows; the gradient is the mean over all
tokens of the global batch, so the result does not depend on the number of ranks beyond rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from task_specs.field_types import Float, Int, Steps
from workers.precision import Precision, autocast
from workers.speech.sequences import UnitSequences
from workers.unit_lm.kinds import kind_of
from workers.unit_lm.unit_lm import UnitLM


class PretrainSettings(BaseModel):
    """How long and how fast; defaults suit a small LM on some million units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Steps = Field(4000, ge=1)
    batch_tokens: Int = Field(4096, ge=16, le=1 << 24)
    """Tokens of a global batch."""
    learning_rate: Float = Field(1e-3, gt=0)
    warmup_steps: Steps = Field(200, ge=0)
    schedule: Literal["cosine", "inverse_sqrt"] = "cosine"
    """``cosine`` decays to a twentieth of the peak over ``steps``; ``inverse_sqrt`` is the published recipe."""
    adam_beta2: Float = Field(0.98, gt=0, lt=1)
    weight_decay: Float = Field(0.01, ge=0)
    clip_norm: Float = Field(1.0, gt=0)
    dropout: Float = Field(0.1, ge=0, lt=1)
    duration_weight: Float = Field(0.5, ge=0)
    """Of the duration loss of a pgslm, beside the 1 of the units."""
    f0_weight: Float = Field(0.5, ge=0)
    precision: Precision = "auto"
    evaluate_every: Steps = Field(250, ge=1)
    patience: Steps | None = Field(None, ge=1)
    """Evaluations without a better validation perplexity after which training stops; ``None``: it takes all steps."""
    seed: Int = Field(0, ge=0, lt=2**63)

    def rate(self, step: int) -> float:
        """Learning rate of the optimizer step ``step``, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "inverse_sqrt":
            return self.learning_rate * math.sqrt(max(self.warmup_steps, 1) / (step + 1))
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class TokenBatches:
    """Endless batches of row numbers, similar lengths together, in an order that the seed alone decides.

    Args:
        lengths: tokens per row, int64 [rows].
        batch_tokens: tokens of a batch, at most, unless a single row is longer.
        seed: of the order.
    """

    def __init__(self, lengths: NDArray[np.int64], *, batch_tokens: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_tokens = batch_tokens
        self._seed = seed
        self.epoch, self.position = 0, 0

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        while True:
            batches = self._of_epoch(self.epoch)
            while self.position < len(batches):
                self.position += 1
                yield batches[self.position - 1]
            self.epoch, self.position = self.epoch + 1, 0

    def _of_epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(len(self._lengths))
        # Windows of a few batches are sorted, not the whole set, so that batches differ from epoch to epoch.
        mean_rows = max(1, int(self._batch_tokens / self._lengths.mean()))
        batches: list[NDArray[np.int64]] = []
        for window in np.array_split(order, max(1, len(order) // (mean_rows * 20))):
            window = window[np.argsort(self._lengths[window], kind="stable")]
            ends = np.cumsum(self._lengths[window])
            first = 0
            while first < len(window):
                before = ends[first - 1] if first else 0
                last = int(np.searchsorted(ends, before + self._batch_tokens, side="right"))
                last = max(last, first + 1)
                batches.append(window[first:last])
                first = last
        return [batches[index] for index in rng.permutation(len(batches))]


@dataclass
class BestPerplexity:
    """The best evaluation so far; it says which weights are kept."""

    perplexity: float = math.inf
    step: int = 0
    evaluations_since: int = 0

    def judge(self, step: int, perplexity: float) -> None:
        """Take the validation perplexity at a step; NaN is never better."""
        if perplexity < self.perplexity:
            self.perplexity, self.step, self.evaluations_since = perplexity, step, 0
        else:
            self.evaluations_since += 1


class Pretraining:
    """The state of a pretraining run on one rank.

    Args:
        lm: the model to train, on its device, initialised.
        settings: see there.
        train, valid: unit sequences.
        unit_tokens: token id of each unit, int64 [units].
        wrap: makes the objective data-parallel; identity for one rank.
        rank, world: this rank and how many there are.
    """

    def __init__(
        self,
        lm: UnitLM,
        settings: PretrainSettings,
        *,
        train: UnitSequences,
        valid: UnitSequences,
        unit_tokens: NDArray[np.int64],
        wrap: Any = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.lm, self.settings, self.rank, self.world = lm, settings, rank, world
        self._train, self._valid, self._unit_tokens = train, valid, unit_tokens
        self.objective = kind_of(lm.config).objective(lm)
        self._wrapped = (wrap or (lambda module: module))(self.objective)
        self._device = lm.device
        weights = {"duration": settings.duration_weight, "f0": settings.f0_weight}
        self._weights = torch.tensor([weights.get(stream, 1.0) for stream in self.objective.streams])
        decayed = [p for p in lm.parameters() if p.dim() > 1]
        kept = [p for p in lm.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": settings.weight_decay},
                {"params": kept, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            betas=(0.9, settings.adam_beta2),
        )
        self._tokens = train.lengths + self.objective.row_tokens
        self.batches = TokenBatches(self._tokens, batch_tokens=settings.batch_tokens, seed=settings.seed)
        self._order = iter(self.batches)
        self.step = 0
        self.best = BestPerplexity()

    @property
    def finished(self) -> bool:
        """Whether all steps are done or patience has run out."""
        patience = self.settings.patience
        return self.step >= self.settings.steps or (patience is not None and self.best.evaluations_since >= patience)

    def advance(self) -> Tensor:
        """One optimizer step.

        Returns:
            This rank's part of the loss; the mean over ranks is nats per token of the global batch.
        """
        rows = next(self._order)
        tokens_in_batch = int(self._tokens[rows].sum())
        self.lm.train()
        # Dropout comes from seed, step and rank alone, so a resumed run draws what an uninterrupted one would have.
        torch.manual_seed(int(np.random.SeedSequence([self.settings.seed, self.step, self.rank]).generate_state(1)[0]))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        mine = rows[self.rank :: self.world]
        # A rank without rows still takes part in the gradient exchange, with a loss that weighs nothing.
        weight = self.world / tokens_in_batch if len(mine) else 0.0
        with autocast(self.settings.precision, self._device):
            batch = self.objective.batch(self._train, mine if len(mine) else rows[:1], self._unit_tokens)
            loss: Tensor = weight * (self._weights.to(self._device) * self._wrapped(batch)).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.lm.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Metrics of the validation rows, each rank's share of them summed over all ranks.

        ``perplexity`` is that of the units. A multi-stream LM also has ``duration_loss`` and ``f0_loss`` per unit:
        nats of discrete streams, absolute errors of continuous ones.
        """
        self.lm.eval()
        streams = self.objective.streams
        total = torch.zeros(len(streams) + 1, dtype=torch.float64, device=self._device)
        order = np.argsort(self._valid.lengths, kind="stable")[self.rank :: self.world]
        for rows in np.array_split(order, max(1, len(order) // 64)):
            if len(rows):
                with autocast(self.settings.precision, self._device):
                    losses = self.objective(self.objective.batch(self._valid, rows, self._unit_tokens))
                # Every row ends with one more prediction, that it ends.
                predictions = total.new_tensor([(self._valid.lengths[rows] + 1).sum()])
                total += torch.cat([losses.double(), predictions])
        if self.world > 1:
            torch.distributed.all_reduce(total)
        units, *others = total[:-1] / total[-1]
        losses = {f"{stream}_loss": float(loss) for stream, loss in zip(streams[1:], others, strict=True)}
        return {"perplexity": float(units.exp()), **losses}

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "lm": self.lm.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "epoch": self.batches.epoch,
            "position": self.batches.position,
            "best": asdict(self.best),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken."""
        self.lm.load_state_dict(state["lm"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.batches.epoch, self.batches.position = (
            state["step"],
            state["epoch"],
            state["position"],
        )
        self.best = BestPerplexity(**state["best"])
        self._order = iter(self.batches)
