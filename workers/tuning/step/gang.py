"""A gang: lanes that share each forward pass of the frozen LM and nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.evaluation.metrics import Predictions, measure
from workers.precision import Precision, autocast
from workers.prompting.examples import SplitExamples
from workers.prompting.prompt import KEYS, SEPARATORS, VALUES, rate_scales
from workers.prompting.prompted_pass import PromptRows, PromptTensors, prompted_logits
from workers.tuning.step.lane import Lane
from workers.tuning.step.lane_state import LaneState
from workers.tuning.step.loss import batch_loss, slot_scores, training_rows
from workers.tuning.step.memory import is_out_of_memory, release
from workers.tuning.step.optimizer import LaneAdam
from workers.tuning.step.process_group import Ranks
from workers.unit_lm.engine.packing import upload
from workers.unit_lm.unit_lm import UnitLM

EVALUATION_ROWS = 256
ALONE = Ranks()


@dataclass(frozen=True)
class Evaluation:
    """What one lane learned about itself.

    Attributes:
        lane: its place in the gang.
        step: optimizer step.
        losses: training loss by optimizer step since the last evaluation.
        rate: learning rate of the last step.
        figures: on the validation examples.
        best: whether they are the best so far.
    """

    lane: int
    step: int
    losses: list[tuple[int, float]]
    rate: float
    figures: dict[str, float]
    best: bool


class Gang:
    """Tunes its lanes together until each has stopped; lanes may join and leave between evaluations.

    Args:
        lm: the frozen LM, on its device, in evaluation mode.
        lanes: those that begin; each keeps its own data, schedule, random stream and early stop.
        precision: of the LM's matrix products.
        ranks: those that tune the same lanes together.
    """

    def __init__(
        self, lm: UnitLM, lanes: Sequence[Lane], *, precision: Precision = "auto", ranks: Ranks = ALONE
    ) -> None:
        self.lm, self.precision, self.ranks = lm, precision, ranks
        self.device = lm.device
        self.lanes: list[Lane] = []
        self.adam = LaneAdam(
            torch.zeros(0, 0, device=self.device),
            scales=torch.zeros(0, 0, device=self.device),
            betas=torch.zeros(0, 2, device=self.device),
            clip_norms=torch.zeros(0, device=self.device),
        )
        self.best = self.adam.values.clone()
        self.shared_by: int | None = None
        """Lanes that share a pass at most, since more did not fit into memory; ``None``: all."""
        self._readable = EVALUATION_ROWS
        """Rows of a pass without gradients at most."""
        self._losses: list[list[tuple[int, Tensor]]] = []  # since each lane's last evaluation
        for lane in lanes:
            self.join(lane)

    def join(self, lane: Lane, state: LaneState | None = None) -> None:
        """Take in a lane behind the others, fresh, or as it once left a gang.

        Raises:
            ValueError: the state is that of another lane.
        """
        state = state or LaneState.fresh(lane)
        if len(state.values) != lane.shape.size:
            raise ValueError(f"a state of {len(state.values)} numbers for a lane of {lane.shape.size}")
        recipe = lane.spec.recipe
        row = LaneAdam(
            state.values[None].to(self.device, copy=True),
            scales=rate_scales(lane.shape, recipe)[None].to(self.device),
            betas=torch.tensor([[recipe.adam_beta1, recipe.adam_beta2]], device=self.device),
            clip_norms=torch.tensor([recipe.clip_norm], device=self.device),
        )
        row.first, row.second = (
            state.first[None].to(self.device, copy=True),
            state.second[None].to(self.device, copy=True),
        )
        row.steps += state.progress.step
        lane.progress = replace(state.progress)
        lane.generator.set_state(state.generator)
        self.lanes.append(lane)
        self._losses.append([(step, torch.tensor(loss)) for step, loss in state.losses])
        self._resize()
        row.resize(self.adam.size)
        self.adam.extend(row)
        best = F.pad(state.best, (0, self.adam.size - len(state.best)))
        self.best = torch.cat([self.best, best[None].to(self.device)])

    def leave(self, index: int) -> LaneState:
        """Take a lane out; those behind it move up. Returns what it needs to go on elsewhere."""
        state = self.state(index)
        del self.lanes[index], self._losses[index]
        self.adam.remove(index)
        self.best = torch.cat([self.best[:index], self.best[index + 1 :]])
        self._resize()
        return state

    def state(self, index: int) -> LaneState:
        """A copy of how far a lane is."""
        lane = self.lanes[index]

        def part(rows: Tensor) -> Tensor:
            return rows[index, : lane.shape.size].detach().cpu().clone()

        return LaneState(
            values=part(self.adam.values),
            best=part(self.best),
            first=part(self.adam.first),
            second=part(self.adam.second),
            generator=lane.generator.get_state(),
            progress=replace(lane.progress),
            losses=[(step, float(loss)) for step, loss in self._losses[index]],
        )

    def _resize(self) -> None:
        """Rows as wide as the largest lane at hand, so that a resumed gang computes bit for bit as this one."""
        size = max((lane.shape.size for lane in self.lanes), default=0)
        self.adam.resize(size)
        self.best = F.pad(self.best, (0, size - self.best.shape[1]))

    @property
    def active(self) -> list[int]:
        """Lanes that have not stopped."""
        return [index for index, lane in enumerate(self.lanes) if lane.active]

    def run_to_evaluation(self, seconds: float | None = None) -> list[Evaluation]:
        """Take steps until a lane is due for evaluation, and evaluate those that are.

        Args:
            seconds: after which it returns between two steps.

        Returns:
            The evaluations; none if all lanes have stopped, or the time is over.
        """
        started = time.monotonic()
        while active := self.active:
            self.advance()
            due = [index for index in active if self.lanes[index].active and self.lanes[index].evaluation_due]
            if due:
                return [self._evaluate(index) for index in due]
            if seconds is not None and time.monotonic() - started >= seconds:
                break
        return []

    def advance(self) -> None:
        """One optimizer step of every lane that goes on.

        Where a pass does not fit into memory, fewer lanes share it from then on; a lane that does not fit even alone
        has stopped as ``failed``.
        """
        waiting = self.active
        while waiting:
            together = waiting[: self.shared_by]
            drawn = [self.lanes[index].generator.get_state() for index in together]
            try:
                self._advance(together)
            except (RuntimeError, MemoryError) as error:
                # Ranks would no longer agree on who shares a pass.
                if not is_out_of_memory(error) or self.ranks.world > 1:
                    raise
                for index, state in zip(together, drawn, strict=True):
                    self.lanes[index].generator.set_state(state)
                if len(together) == 1:
                    self.lanes[waiting.pop(0)].progress.stopped = "failed"
                    # It was the one that made the others go apart.
                    self.shared_by = None
                else:
                    self.shared_by = len(together) // 2
            else:
                del waiting[: len(together)]
                continue
            # Out of the except clause, which keeps the broken pass alive.
            release(self.device)

    def predict(self, index: int, examples: SplitExamples, *, best: bool) -> Predictions:
        """Class scores of one lane's prompt, the present or the best one, on a split; for an example in several windows
        the mean of theirs."""
        lane = self.lanes[index]
        with torch.no_grad():
            scores = slot_scores(lane, self._values(index, best), self.read(index, examples, best=best))
        return Predictions([examples.by_example(part.cpu().numpy()) for part in scores], examples.example_labels)

    def read(self, index: int, examples: SplitExamples, *, best: bool) -> Tensor:
        """What the verbalizer of one lane's prompt reads on a split, float32 [rows, slots, shape.vocabulary]; all
        ranks read their shares and have the whole."""
        lane, flat = self.lanes[index], self._values(index, best)
        shape = lane.shape
        found = torch.zeros(len(examples), len(shape.classes), shape.vocabulary, device=self.device)
        order = np.argsort(examples.units.lengths, kind="stable")
        parts = np.array_split(order, min(len(order), max(self.ranks.world, -(-len(order) // EVALUATION_ROWS))))
        with torch.no_grad():
            waiting = [parts[place] for place in self.ranks.own(len(parts))]
            while waiting:
                if len(waiting[0]) > self._readable:
                    waiting[:1] = np.array_split(waiting[0], -(-len(waiting[0]) // self._readable))
                rows = waiting[0]
                try:
                    [logits] = self._logits([lane], [self._tensors(lane, flat)], [lane.rows(examples, rows)])
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or len(rows) == 1:
                        raise
                    self._readable = len(rows) // 2
                else:
                    found[upload(rows, self.device)] = logits
                    del waiting[0]
                    continue
                release(self.device)
        return self.ranks.add(found)

    def _values(self, index: int, best: bool) -> Tensor:
        return (self.best if best else self.adam.values)[index]

    def _advance(self, active: list[int]) -> None:
        """One optimizer step of the active lanes, one forward and one backward pass for all."""
        lanes = [self.lanes[index] for index in active]
        rows = upload(np.array(active), self.device)
        flats = self.adam.values[rows].requires_grad_()
        batches = [training_rows(lane, self.ranks) for lane in lanes]
        dropped = [self._drop_prompt(lane, flat) for lane, flat in zip(lanes, flats, strict=True)]
        tensors = [self._tensors(lane, flat) for lane, flat in zip(lanes, dropped, strict=True)]
        logits = self._logits(lanes, tensors, [batch.rows for batch in batches])
        losses = torch.stack(
            [
                batch.weight * batch_loss(lane, flat, lane_logits, batch, self.lm.config)
                for lane, flat, lane_logits, batch in zip(lanes, flats, logits, batches, strict=True)
            ]
        )
        # Each loss depends on its own lane's numbers alone, so the gradient of the sum is every lane's own.
        losses.sum().backward()  # type: ignore[no-untyped-call]
        assert flats.grad is not None  # noqa: S101
        summed = self.ranks.add(torch.cat([flats.grad, losses.detach()[:, None]], dim=1))
        rates = upload(np.array([lane.rate(lane.progress.step) for lane in lanes], dtype=np.float32), self.device)
        self.adam.step(rows, summed[:, :-1], rates)
        for index, lane, loss in zip(active, lanes, summed[:, -1], strict=True):
            lane.progress.step += 1
            self._losses[index].append((lane.progress.step, loss))

    def _evaluate(self, index: int) -> Evaluation:
        lane = self.lanes[index]
        figures = measure(self.predict(index, lane.selection, best=False), lane.spec.positive_class)
        best = lane.judge(figures)
        if best:
            self.best[index] = self.adam.values[index]
        losses = [(step, float(loss)) for step, loss in self._losses[index]]
        self._losses[index].clear()
        step = lane.progress.step
        return Evaluation(index, step, losses, lane.rate(step - 1), figures, best)

    def _logits(
        self, lanes: Sequence[Lane], tensors: Sequence[PromptTensors], groups: Sequence[PromptRows]
    ) -> list[Tensor]:
        """For each lane the scores that its verbalizer reads, [rows, reads, shape.vocabulary]."""
        with autocast(self.precision, self.device):
            outputs = prompted_logits(self.lm, tensors, groups)
        return [scores[..., : lane.shape.vocabulary] for lane, scores in zip(lanes, outputs, strict=True)]

    @staticmethod
    def _tensors(lane: Lane, flat: Tensor) -> PromptTensors:
        views = lane.shape.views(flat)
        return PromptTensors(views[KEYS], views[VALUES], views[SEPARATORS])

    def _drop_prompt(self, lane: Lane, flat: Tensor) -> Tensor:
        """Dropout on single numbers of the key and value vectors, one mask for the whole batch."""
        rate = lane.spec.recipe.dropout
        if not rate:
            return flat
        kept = torch.rand(lane.shape.prefix_size, generator=lane.generator) >= rate
        mask = F.pad(kept.float() / (1 - rate), (0, len(flat) - len(kept)), value=1.0)
        return flat * upload(mask.numpy(), self.device)
