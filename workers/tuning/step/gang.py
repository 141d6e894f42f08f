"""A gang: lanes that share each forward pass of the frozen LM and nothing else.

``run_to_evaluation`` steps until a lane is due; ``advance`` is one step of every lane, in as many passes as memory
requires; ``step`` is one pass: batches, prompts, logits, losses, ``backward``, Adam.

Shapes: L lanes, S numbers of the largest lane's prompt (the rows of shorter ones end in zeros), k lanes of one pass, B
rows of a lane's batch, R positions read in each of them, V inputs of the lane's verbalizer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from workers.evaluation.metrics import Predictions, measure
from workers.precision import Precision, autocast
from workers.prompting.examples import SplitExamples
from workers.prompting.prompt import rate_scales
from workers.prompting.prompted_pass import PromptRows, read_prompts, run_pass
from workers.tuning.step.lane import Lane
from workers.tuning.step.lane_state import LaneState
from workers.tuning.step.loss import batch_loss, slot_mappings, slot_scores, training_rows
from workers.tuning.step.memory import is_out_of_memory, release
from workers.tuning.step.optimizer import LaneAdam
from workers.tuning.step.process_group import Ranks
from workers.tuning.step.running_lane import RunningLane
from workers.unit_lm.engine.packing import upload
from workers.unit_lm.unit_lm import UnitLM

EVALUATION_ROWS = 256
ALONE = Ranks()


@dataclass(frozen=True)
class Evaluation:
    """A lane on its validation examples.

    Attributes:
        step: optimizer steps taken in all.
        losses: training loss by optimizer step since the last evaluation.
        learning_rate: of the last step.
        metrics: by name, with ``loss``.
        best: whether they are the best so far.
        begins_again: whether the lane has not learned, and begins again with another draw.
    """

    step: int
    losses: list[tuple[int, float]]
    learning_rate: float
    metrics: dict[str, float]
    best: bool
    begins_again: bool = False


class Gang:
    """Tunes its lanes together until each has stopped; lanes may join and leave between evaluations.

    Args:
        lm: the frozen LM, on its device, in evaluation mode.
        lanes: lanes to start with; each keeps its own data, schedule, random stream and early stop.
        precision: of the LM's matrix products.
        ranks: those that tune the same lanes together.

    Attributes:
        lanes: those at hand; a lane's place is its row in ``adam`` and ``best``.
        adam: the trained numbers and Adam's moments, float32 [L, S].
        best: the numbers of each lane's best evaluation, float32 [L, S].
        max_lanes_per_pass: lanes that share a pass at most, since more did not fit into memory; ``None``: all.
    """

    def __init__(
        self, lm: UnitLM, lanes: Sequence[Lane], *, precision: Precision = "auto", ranks: Ranks = ALONE
    ) -> None:
        self.lm, self.precision, self.ranks = lm, precision, ranks
        self.device = lm.device
        self.lanes: list[RunningLane] = []
        self.adam = LaneAdam(
            torch.zeros(0, 0, device=self.device),
            scales=torch.zeros(0, 0, device=self.device),
            betas=torch.zeros(0, 2, device=self.device),
            clip_norms=torch.zeros(0, device=self.device),
        )
        self.best = self.adam.values.clone()
        self.max_lanes_per_pass: int | None = None
        self._rows_without_gradients = EVALUATION_ROWS
        """Rows of such a pass at most."""
        for lane in lanes:
            self.join(lane, lane.initial_state())

    @property
    def active(self) -> list[RunningLane]:
        """Lanes that have not stopped."""
        return [lane for lane in self.lanes if lane.active]

    def run_to_evaluation(self, seconds: float | None = None) -> dict[RunningLane, Evaluation]:
        """Take steps until a lane is due for evaluation, and evaluate those that are.

        Args:
            seconds: after which it returns between two steps.

        Returns:
            The evaluations; none if all lanes have stopped, or the time is over.
        """
        started = time.monotonic()
        while active := self.active:
            self.advance()
            due = [lane for lane in active if lane.active and lane.evaluation_due]
            if due:
                return {lane: self._evaluate(lane) for lane in due}
            if seconds is not None and time.monotonic() - started >= seconds:
                break
        return {}

    def advance(self) -> None:
        """One optimizer step of every lane that goes on.

        Where a pass does not fit into memory, fewer lanes share it from then on; a lane that does not fit even alone
        has stopped as ``failed``.
        """
        waiting = self.active
        while waiting:
            together = waiting[: self.max_lanes_per_pass]
            drawn = [lane.generator.get_state() for lane in together]
            try:
                self.step(together)
            except (RuntimeError, MemoryError) as error:
                # Ranks would no longer agree on who shares a pass.
                if not is_out_of_memory(error) or self.ranks.world > 1:
                    raise
                for lane, state in zip(together, drawn, strict=True):
                    lane.generator.set_state(state)
                if len(together) == 1:
                    waiting.pop(0).progress.stopped = "failed"
                    # It was the one that made the others go apart.
                    self.max_lanes_per_pass = None
                else:
                    self.max_lanes_per_pass = len(together) // 2
            else:
                del waiting[: len(together)]
                continue
            # Out of the except clause, which keeps the broken pass alive.
            release(self.device)

    def step(self, together: Sequence[RunningLane]) -> None:
        """One optimizer step of some lanes, one forward and one backward pass for all.

        Raises:
            RuntimeError, MemoryError: among others, the pass does not fit into memory; only random streams have moved.
        """
        places = [self.lanes.index(lane) for lane in together]
        rows = upload(np.array(places), self.device)
        values = self.adam.values[rows].requires_grad_()  # [k, S]
        lanes = [running.lane for running in together]
        steps = [running.progress.step for running in together]

        batches = [training_rows(lane, step, self.ranks) for lane, step in zip(lanes, steps, strict=True)]
        dropped = [self._drop_prompt(running, own) for running, own in zip(together, values, strict=True)]
        read = self._read(lanes, dropped, [batch.rows for batch in batches])  # each [B, R, V]
        losses = torch.stack(
            [
                batch.weight * batch_loss(running.lane, own, inputs, batch, self.lm.config, running.generator)
                for running, own, inputs, batch in zip(together, values, read, batches, strict=True)
            ]
        )  # [k]

        # Each loss depends on its own lane's numbers alone, so the gradient of the sum is every lane's own.
        losses.sum().backward()  # type: ignore[no-untyped-call]
        assert values.grad is not None  # noqa: S101
        summed = self.ranks.add(torch.cat([values.grad, losses.detach()[:, None]], dim=1))  # [k, S + 1]
        rates = [lane.learning_rate(step) for lane, step in zip(lanes, steps, strict=True)]
        self.adam.step(rows, summed[:, :-1], upload(np.array(rates, dtype=np.float32), self.device))

        for running, loss in zip(together, summed[:, -1], strict=True):
            running.progress.step += 1
            running.losses.append((running.progress.taken, loss))

    def _drop_prompt(self, running: RunningLane, values: Tensor) -> Tensor:
        """Dropout on single numbers of the key and value vectors, one mask for the whole batch, [S]."""
        rate, shape = running.lane.spec.recipe.dropout, running.lane.shape
        if not rate:
            return values
        kept = torch.rand(shape.prefix_size, generator=running.generator) >= rate
        mask = F.pad(kept.float() / (1 - rate), (0, len(values) - len(kept)), value=1.0)
        return values * upload(mask.numpy(), self.device)

    def _read(self, lanes: Sequence[Lane], values: Sequence[Tensor], groups: Sequence[PromptRows]) -> list[Tensor]:
        """For each lane the inputs of its verbalizer, float32 [B, R, V], with these numbers [S or less]."""
        prompts = [lane.shape.prompt(own) for lane, own in zip(lanes, values, strict=True)]
        with autocast(self.precision, self.device):
            return read_prompts(self.lm, prompts, groups)

    def _evaluate(self, running: RunningLane) -> Evaluation:
        lane, place = running.lane, self.lanes.index(running)
        values = self.adam.values[place]
        metrics = measure(self.predict(lane, values, lane.selection), lane.spec.positive_class)
        best = running.judge(metrics)
        if best:
            self.best[place] = values
        losses = [(step, float(loss)) for step, loss in running.losses]
        running.losses.clear()
        taken, learning_rate = running.progress.taken, lane.learning_rate(running.progress.step - 1)
        begins_again = running.failed_to_learn
        if begins_again:
            self._begin_again(running)
        return Evaluation(taken, losses, learning_rate, metrics, best, begins_again)

    def _begin_again(self, running: RunningLane) -> None:
        state = running.lane.initial_state(running.progress.restarts + 1)
        running.begin_again(state)
        place, size = self.lanes.index(running), running.lane.shape.size
        self.adam.reset(place, F.pad(state.values, (0, self.adam.size - size)))
        self.best[place] = self.adam.values[place]

    def predict(self, lane: Lane, values: Tensor, examples: SplitExamples) -> Predictions:
        """Class scores of a prompt on a split; for an example in several windows the mean of theirs.

        Args:
            lane: whose prompt it is, in this gang or not.
            values: its numbers, float32 [at least shape.size].
            examples: of the split.
        """
        values = values.to(self.device)
        with torch.no_grad():
            scores = slot_scores(lane, values, self.read(lane, values, examples))
        return Predictions([examples.by_example(part.cpu().numpy()) for part in scores], examples.example_labels)

    def read(self, lane: Lane, values: Tensor, examples: SplitExamples) -> Tensor:
        """What the verbalizer of a prompt reads on a split, float32 [rows, slots, V]; all ranks read their shares and
        have the whole. The arguments are those of ``predict``."""
        values, shape = values.to(self.device), lane.shape
        found = torch.zeros(len(examples), len(shape.classes), shape.inputs, device=self.device)
        order = np.argsort(examples.units.lengths, kind="stable")
        parts = np.array_split(order, min(len(order), max(self.ranks.world, -(-len(order) // EVALUATION_ROWS))))
        with torch.no_grad():
            waiting = [parts[place] for place in self.ranks.own(len(parts))]
            while waiting:
                if len(waiting[0]) > self._rows_without_gradients:
                    waiting[:1] = np.array_split(waiting[0], -(-len(waiting[0]) // self._rows_without_gradients))
                rows = waiting[0]
                try:
                    [inputs] = self._read([lane], [values], [lane.rows(examples, rows)])
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or len(rows) == 1:
                        raise
                    self._rows_without_gradients = len(rows) // 2
                else:
                    found[upload(rows, self.device)] = inputs
                    del waiting[0]
                    continue
                release(self.device)
        return self.ranks.add(found)

    def positions(
        self, lane: Lane, values: Tensor, examples: SplitExamples, slot: int, rows: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """What each unit of some rows adds to the class scores of a slot, each float32 [T, classes]; nothing where the
        prompt reads the separators alone. Other ranks have no part in it.

        Args:
            lane, values, examples: as for ``predict``.
            slot: number of the slot.
            rows: of the split, int64 [rows].
        """
        values = values.to(self.device)
        with torch.no_grad(), autocast(self.precision, self.device):
            _, listening = run_pass(self.lm, [lane.shape.prompt(values)], [lane.rows(examples, rows)])
            if listening is None:
                return []
            [parts] = listening.positions()
        matrix = lane.verbalizer.matrix(slot_mappings(lane, values)[slot])
        if parts is None or matrix is None:
            return []
        own = parts[:, min(slot, parts.shape[1] - 1)].float()
        scores = (own @ matrix[:, -own.shape[-1] :].T).cpu().numpy()
        # The start token comes first.
        lengths = examples.units.lengths[rows].tolist()
        return [part[1 : 1 + length] for part, length in zip(scores, lengths, strict=True)]

    def join(self, lane: Lane, state: LaneState) -> RunningLane:
        """Take in a lane behind the others, as it begins, or as it once left a gang; the state stays as it is.

        Raises:
            ValueError: the state is that of another lane.
        """
        if len(state.values) != lane.shape.size:
            raise ValueError(f"a state of {len(state.values)} numbers for a lane of {lane.shape.size}")
        recipe = lane.spec.recipe
        row = LaneAdam(
            state.values[None].to(self.device, copy=True),
            scales=rate_scales(lane.shape, recipe)[None].to(self.device),
            betas=torch.tensor([[recipe.adam_beta1, recipe.adam_beta2]], device=self.device),
            clip_norms=torch.tensor([recipe.clip_norm], device=self.device),
        )
        row.exp_avg = state.exp_avg[None].to(self.device, copy=True)
        row.exp_avg_sq = state.exp_avg_sq[None].to(self.device, copy=True)
        row.steps += state.progress.step
        running = RunningLane.of(lane, state)
        self.lanes.append(running)
        self._resize()
        row.resize(self.adam.size)
        self.adam.extend(row)
        best = F.pad(state.best, (0, self.adam.size - len(state.best)))
        self.best = torch.cat([self.best, best[None].to(self.device)])
        return running

    def leave(self, running: RunningLane) -> LaneState:
        """Take a lane out. Returns what it needs to go on elsewhere."""
        state, place = self.state(running), self.lanes.index(running)
        del self.lanes[place]
        self.adam.remove(place)
        self.best = torch.cat([self.best[:place], self.best[place + 1 :]])
        self._resize()
        return state

    def state(self, running: RunningLane) -> LaneState:
        """A copy of how far a lane is."""
        place, size = self.lanes.index(running), running.lane.shape.size

        def part(rows: Tensor) -> Tensor:
            return rows[place, :size].detach().cpu().clone()

        return LaneState(
            values=part(self.adam.values),
            best=part(self.best),
            exp_avg=part(self.adam.exp_avg),
            exp_avg_sq=part(self.adam.exp_avg_sq),
            generator=running.generator.get_state(),
            progress=replace(running.progress),
            losses=[(step, float(loss)) for step, loss in running.losses],
        )

    def _resize(self) -> None:
        """Rows as wide as the largest lane at hand, so that a resumed gang computes bit for bit as this one."""
        size = max((running.lane.shape.size for running in self.lanes), default=0)
        self.adam.resize(size)
        self.best = F.pad(self.best, (0, size - self.best.shape[1]))
