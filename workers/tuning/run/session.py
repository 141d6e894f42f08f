"""A gang order carried out: lanes join as rows become free, leave when done, and each leaves its own outcome.

What goes wrong with one lane ends that lane: its error is its outcome, and its neighbours go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import InputError, ObjectNotFound
from infra.tracking import RunLog, Tracking
from workers.backbone.sharing import SharedLM
from workers.job_store.files import CHECKPOINT
from workers.tuning.orders import GangOrder
from workers.tuning.results.lane_results import LaneDesk
from workers.tuning.results.mlflow_columns import log_evaluation
from workers.tuning.run.checkpoint import read_gang, write_gang
from workers.tuning.run.halving import LOST, HalvingBoard, Score
from workers.tuning.run.lane_source import LaneSource
from workers.tuning.run.progress import lane_statuses, steps_report
from workers.tuning.run.queue import Ended, Queue, SavedQueue
from workers.tuning.run.status import LaneStatus
from workers.tuning.step import memory as heap
from workers.tuning.step.frozen_watch import FrozenWatch
from workers.tuning.step.gang import ALONE, Evaluation, Gang
from workers.tuning.step.lane import Lane, Progress
from workers.tuning.step.lane_state import LaneState
from workers.tuning.step.process_group import Ranks
from workers.unit_lm.gslm import UnitLM

logger = logging.getLogger("speechprompt.gang")


@dataclass
class Seat:
    """A lane that has begun: its number in the order, and its MLflow run if this rank keeps it."""

    number: int
    lane: Lane
    log: RunLog | None


class GangRun:
    """Carries out one order.

    Args:
        order: what to tune.
        lm: the LM, on its device.
        shared: what it was attached from.
        tracking: where lanes are logged; ``None`` on a rank that leaves runs and outcomes to another.
        ranks: those that carry out the order together.
    """

    def __init__(
        self, order: GangOrder, *, lm: UnitLM, shared: SharedLM, tracking: Tracking | None, ranks: Ranks = ALONE
    ) -> None:
        self._order = order
        self._unit_lm = shared.fingerprint
        self._source = LaneSource(lm, shared)
        self._watch = FrozenWatch(shared, lm, ranks)
        self._desk = LaneDesk(order, shared=shared, watch=self._watch, tracking=tracking)
        self._gang = Gang(lm, [], precision=order.precision, ranks=ranks)
        self._seats: list[Seat] = []
        """Of the lanes of the gang, in its order."""
        self._left: dict[int, LaneState] = {}
        """Of lanes that have begun and are not in the gang."""
        self._values: dict[int, float] = {}
        """Metric of each lane at its last evaluation."""
        self._queue = Queue(waiting=list(range(len(order.lanes))))

    @property
    def done(self) -> bool:
        """Whether every lane has an outcome."""
        return len(self._queue.ended) == len(self._order.lanes)

    @property
    def width(self) -> int:
        """Lanes that share a pass at most, fewer than ordered where memory ran out."""
        return min(self._order.width, self._gang.shared_by or self._order.width)

    def step(self, seconds: float | None = None) -> dict[str, Any]:
        """Go on to the next evaluation of a lane, and write the outcomes of those that end there.

        Args:
            seconds: after which it returns before that evaluation; for an order of one rank.

        Returns:
            How far the lanes are, for the driver.

        Raises:
            FrozenWeightsChanged: the LM is no longer the one of its fingerprint; no outcome is written.
            StorageError: an outcome cannot be written.
        """
        self._admit()
        started = time.monotonic()
        width = self.width
        evaluations = self._gang.run_to_evaluation(seconds)
        if self.width < width:
            self._say_narrower()
        share = (time.monotonic() - started) / max(1, len(self._seats))
        for seat in self._seats:
            self._queue.seconds[seat.number] = self._queue.seconds.get(seat.number, 0.0) + share
        for evaluation in evaluations:
            seat = self._seats[evaluation.lane]
            self._values[seat.number] = evaluation.figures[seat.lane.spec.metric]
            if seat.log is not None:
                log_evaluation(seat.log, evaluation)
        report = self._report(evaluations) | {"evaluated": bool(evaluations) or not self._gang.active}
        self._end([index for index, seat in enumerate(self._seats) if not seat.lane.active])
        self._park()
        self._judge()
        # What is saved after this step is of the weights that all steps before it had.
        self._watch.glance()
        return report | {"lanes_ended": len(self._queue.ended)}

    def save(self, directory: Path) -> None:
        """Full state of all lanes, without pickling."""
        states = {seat.number: self._gang.state(index) for index, seat in enumerate(self._seats)} | self._left
        seated = [seat.number for seat in self._seats]
        saved = SavedQueue(lanes=self._keys(), seated=seated, shared_by=self._gang.shared_by, queue=self._queue)
        write_gang(directory, saved, states, unit_lm=self._unit_lm)

    def load(self, directory: Path) -> None:
        """Continue where ``save`` was called; before any step.

        Raises:
            ObjectNotFound: the checkpoint is not whole.
            DamagedFile: it is not what was saved, or is of another LM or other lanes.
        """
        saved, states = read_gang(directory, unit_lm=self._unit_lm)
        if saved.lanes != self._keys():
            raise CHECKPOINT.damaged(str(directory), "is of other lanes")
        self._go_on(saved, {number: number for number in range(len(saved.lanes))}, states)
        self._gang.shared_by = saved.shared_by

    def interrupt(self) -> None:
        """Say of the lanes that have begun and not ended that they do not go on for now."""
        for number in [*(seat.number for seat in self._seats), *self._left]:
            self._desk.write_interruption(self._order.lanes[number])

    def lane_statuses(self) -> list[LaneStatus]:
        """How far every lane of the order is."""
        seated = {seat.number for seat in self._seats}
        return lane_statuses(self._order, self._queue, self._begun(), seated=seated, values=self._values)

    def adopt(self, directory: Path) -> None:
        """Continue lanes of this order where another gang, of more lanes, called ``save``; before any step.

        Raises:
            ObjectNotFound: the checkpoint is not whole.
            DamagedFile: it is not what was saved, is of another LM, or does not hold all of these lanes.
        """
        saved, states = read_gang(directory, unit_lm=self._unit_lm)
        keys = self._keys()
        if not set(keys) <= set(saved.lanes):
            raise CHECKPOINT.damaged(str(directory), "is of other lanes")
        numbers = {number: keys.index(key) for number, key in enumerate(saved.lanes) if key in keys}
        self._go_on(saved, numbers, states)

    def _go_on(self, saved: SavedQueue, numbers: Mapping[int, int], states: Mapping[int, LaneState]) -> None:
        """Take up lanes that have other numbers here."""
        left = {numbers[number]: states[number] for number in numbers if number in states}
        queue = saved.queue.part(numbers)
        # Those that were at work go on first, in the same order, so that the same numbers come out.
        queue.waiting = [numbers[number] for number in saved.seated if number in numbers] + queue.waiting
        again = self._without_outcome(queue)
        self._queue = queue.begun_again(again)
        self._left = {number: state for number, state in left.items() if number not in again}

    def _without_outcome(self, queue: Queue) -> set[int]:
        """Lanes that were over and have left nothing that counts; under halving also those they were compared with."""
        lanes = self._order.lanes
        lost = {number for number in queue.ended if not self._desk.has_outcome(lanes[number])}
        sweeps = {lanes[number].spec.task for number in lost if lanes[number].halving is not None}
        return lost | {number for number, lane in enumerate(lanes) if lane.spec.task in sweeps}

    def _keys(self) -> list[str]:
        return [order.key for order in self._order.lanes]

    def _admit(self) -> None:
        """Give free rows to waiting lanes."""
        while self._queue.waiting and len(self._seats) < self._order.width:
            number = self._queue.waiting.pop(0)
            order = self._order.lanes[number]
            # Halving needs to see all lanes of a task again, also those that were over before this gang began.
            if number not in self._left and order.halving is None and self._desk.has_outcome(order):
                self._queue.ended[number] = Ended(steps=0)
            else:
                self._sit(number)

    def _sit(self, number: int) -> None:
        """Let a lane begin or go on; one that cannot ends here."""
        order = self._order.lanes[number]
        try:
            lane = self._source.lane(order.spec)
        except (InputError, ObjectNotFound) as error:
            self._desk.write_failure(order, str(error))
            self._left.pop(number, None)
            self._queue.ended[number] = Ended(steps=0, error=str(error))
            return
        self._gang.join(lane, self._left.pop(number, None))
        self._seats.append(Seat(number, lane, self._desk.open_run(order, lane)))

    def _park(self) -> None:
        """Lanes at a rung make room until the others of their task are there too."""
        for index in reversed(range(len(self._seats))):
            seat = self._seats[index]
            board = self._board(seat.number)
            if board is not None and board.waits_at(seat.lane.progress.step):
                self._left[seat.number] = self._gang.leave(index)
                self._queue.parked.append(seat.number)
                del self._seats[index]

    def _board(self, number: int) -> HalvingBoard | None:
        order = self._order.lanes[number]
        if order.halving is None:
            return None
        task = order.spec.task
        if task not in self._queue.boards:
            lanes: dict[str, list[int]] = {}
            for other, described in enumerate(self._order.lanes):
                if described.spec.task == task:
                    lanes.setdefault(described.point, []).append(other)
            every = next(seat.lane.evaluate_every for seat in self._seats if seat.number == number)
            steps = order.halving.steps(order.spec.recipe.steps, every)
            self._queue.boards[task] = HalvingBoard(halving=order.halving, steps=steps, lanes=lanes)
        return self._queue.boards[task]

    def _judge(self) -> None:
        """Where all lanes of a sweep are at their rung or over, the best go on and the others end."""
        queue = self._queue
        for board in queue.boards.values():
            members = [number for numbers in board.lanes.values() for number in numbers]
            parked = [number for number in members if number in queue.parked]
            if not parked or any(number not in queue.parked and number not in queue.ended for number in members):
                continue
            scores = {number: self._score(number) for number in members}
            dropped = board.judge(scores)
            queue.parked = [number for number in queue.parked if number not in parked]
            queue.waiting = [number for number in parked if number not in dropped] + queue.waiting
            seated = len(self._seats)
            for number in parked:
                if number in dropped:
                    self._sit(number)
            for seat in self._seats[seated:]:
                seat.lane.progress.stopped = "dropped"
            self._end(range(seated, len(self._seats)))

    def _score(self, number: int) -> Score:
        ended = self._queue.ended.get(number)
        return (self._left[number].progress.best_score if ended is None else ended.score) or LOST

    def _end(self, indices: Sequence[int]) -> None:
        """Write outcomes and free the rows."""
        if not indices:
            return
        self._desk.before_outcomes()
        for index in sorted(indices, reverse=True):
            seat = self._seats.pop(index)
            order, seconds = self._order.lanes[seat.number], self._queue.seconds.get(seat.number, 0.0)
            error: str | None
            if seat.lane.progress.stopped == "failed":
                error = _too_large(seat.lane)
                self._desk.write_failure(order, error, steps=seat.lane.progress.step, seconds=seconds)
            else:
                error = self._desk.write(order, self._gang, index, seat.log, seconds)
            self._gang.leave(index)
            progress = seat.lane.progress
            score = None if progress.stopped in ("diverged", "failed") else progress.best_score
            self._queue.ended[seat.number] = Ended(steps=progress.step, score=score, error=error)
        heap.trim()

    def _say_narrower(self) -> None:
        """To the log, and to those who compare the lanes' speed in MLflow."""
        logger.warning("memory ran out: from now on at most %d lanes share a pass", self.width)
        for seat in self._seats:
            if seat.log is not None:
                seat.log.tags({"gang_width": self.width})

    def _report(self, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
        """What the driver shows while the gang runs."""
        report = steps_report(self._order, self._queue, self._begun()) | {"width": self.width}
        if evaluations:
            last = evaluations[-1]
            order = self._order.lanes[self._seats[last.lane].number]
            report |= {"lane": order.run_name, "metric": last.figures[order.spec.metric], "loss": last.figures["loss"]}
        return report

    def _begun(self) -> dict[int, Progress]:
        """Of lanes that have begun and are not over, by number."""
        seated = {seat.number: seat.lane.progress for seat in self._seats}
        return seated | {number: state.progress for number, state in self._left.items()}


def _too_large(lane: Lane) -> str:
    return (
        f"{lane.spec.name}: its batch does not fit into memory at step {lane.progress.step}, even with no lane beside "
        f"it; lower recipe.batch_size, which is {lane.spec.recipe.batch_size}, or audio.max_seconds"
    )
