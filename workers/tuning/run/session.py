"""A gang order carried out: lanes join as rows become free, leave when done, and each leaves its own outcome.

What goes wrong with one lane ends that lane: its error is its outcome, and its neighbours go on. Ray Tune and Ray Train
drive a session alike: take up a checkpoint, ``step`` until it is ``done``, ``save`` in between, ``close``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from infra.errors import DamagedFile, InputError, ObjectNotFound
from infra.tracking import RunLog, Tracking
from workers.backbone.sharing import SharedLM
from workers.job_store.files import CHECKPOINT
from workers.tuning.orders import GangOrder
from workers.tuning.results.lane_results import LaneDesk
from workers.tuning.results.mlflow_columns import log_evaluation
from workers.tuning.run.checkpoint import Opener, checkpoints_in, read_gang, write_gang
from workers.tuning.run.halving import LOST, HalvingBoard, Score
from workers.tuning.run.lane_source import LaneSource
from workers.tuning.run.progress import GangReport, lane_statuses, lane_steps
from workers.tuning.run.queue import Ended, Queue, SavedQueue
from workers.tuning.run.status import LaneStatus
from workers.tuning.run.watch import GangWatch
from workers.tuning.step import memory as heap
from workers.tuning.step.frozen_watch import FrozenWatch
from workers.tuning.step.gang import ALONE, Evaluation, Gang
from workers.tuning.step.lane import Lane
from workers.tuning.step.lane_state import LaneState, Progress
from workers.tuning.step.process_group import Ranks
from workers.tuning.step.running_lane import RunningLane
from workers.unit_lm.unit_lm import UnitLM

logger = logging.getLogger("speechprompt.gang")


class GangSession:
    """Carries out one order.

    Args:
        order: what to tune.
        lm: the LM, on its device.
        shared: what it was attached from.
        tracking: where lanes are logged, which the session closes; ``None`` on a rank that leaves runs and outcomes to
            another.
        ranks: those that carry out the order together.
        watch: by which operators are told; ``None``: they are not.
    """

    def __init__(
        self,
        order: GangOrder,
        *,
        lm: UnitLM,
        shared: SharedLM,
        tracking: Tracking | None,
        ranks: Ranks = ALONE,
        watch: GangWatch | None = None,
    ) -> None:
        self._order, self._tracking, self._ranks, self._watch = order, tracking, ranks, watch
        self._unit_lm = shared.fingerprint
        self._source = LaneSource(lm, shared)
        self._frozen = FrozenWatch(shared, lm, ranks)
        self._desk = LaneDesk(order, shared=shared, watch=self._frozen, tracking=tracking)
        self._gang = Gang(lm, [], precision=order.precision, ranks=ranks)
        self._numbers: dict[RunningLane, int] = {}
        """Of the lanes of the gang, in its order; a lane's number is its place in the order."""
        self._logs: dict[int, RunLog] = {}
        """MLflow runs of lanes that have begun here and are not over, if this rank keeps them."""
        self._metrics: dict[int, float] = {}
        """Metric of each lane at its last evaluation."""
        self._note: str | None = None
        self._parked_states: dict[int, LaneState] = {}
        """Of lanes that have begun and are not in the gang."""
        self._queue = Queue(waiting=list(range(len(order.lanes))))

    @property
    def done(self) -> bool:
        """Whether every lane has an outcome."""
        return len(self._queue.ended) == len(self._order.lanes)

    @property
    def width(self) -> int:
        """Lanes that share a pass at most, fewer than ordered where memory ran out."""
        return min(self._order.width, self._gang.max_lanes_per_pass or self._order.width)

    def step(self, seconds: float | None = None) -> GangReport:
        """Go on to the next evaluation of a lane, and write the outcomes of those that end there.

        Args:
            seconds: after which it returns before that evaluation; for an order of one rank.

        Raises:
            FrozenWeightsChanged: the LM is no longer the one of its fingerprint; no outcome is written.
            StorageError: an outcome cannot be written.
        """
        self._admit()
        width, started = self.width, time.monotonic()
        evaluations = self._gang.run_to_evaluation(seconds)
        evaluated = bool(evaluations) or not self._gang.active
        self._share_time(time.monotonic() - started)
        if self.width < width:
            self._say_narrower()
        last = self._log_evaluations(evaluations)
        self._end_stopped()
        self._park()
        self._judge()
        # What is saved after this step is of the weights that all steps before it had.
        self._frozen.glance()
        self._tell_operators()
        return self._report(last, evaluated=evaluated)

    def save(self, directory: Path) -> None:
        """Full state of all lanes, without pickling."""
        states = {number: self._gang.state(lane) for lane, number in self._numbers.items()} | self._parked_states
        saved = SavedQueue(
            lanes=self._keys(),
            running=list(self._numbers.values()),
            max_lanes_per_pass=self._gang.max_lanes_per_pass,
            queue=self._queue,
        )
        write_gang(directory, saved, states, unit_lm=self._unit_lm)
        if self._watch is not None:
            self._watch.saved()

    def take_up(self, checkpoints: Sequence[Opener]) -> int | None:
        """Continue from the newest checkpoint that is whole, or from the gang in which these lanes began, or begin.

        All ranks take up the same one. One that is damaged is told of with the next report; one that is half written,
        or half deleted, when a process was killed is passed over.

        Args:
            checkpoints: of this order, the newest first; the same on every rank.

        Returns:
            The place of the one that was taken up, ``None`` for none of them.

        Raises:
            StorageError: a store cannot be read.
        """
        taken = self._first_sound(checkpoints, self.load)
        if taken is None and self._order.began_in is not None:
            self.adopt_from(self._order.began_in)
        return taken

    def adopt_from(self, directory: str) -> bool:
        """Continue lanes of this order from the newest whole checkpoint of another gang, of more lanes.

        Args:
            directory: of that gang's checkpoints, local or S3.

        Returns:
            Whether there was one; if not, the lanes begin.

        Raises:
            StorageError: a store cannot be read.
        """
        return self._first_sound(checkpoints_in(directory), self.adopt) is not None

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
        self._gang.max_lanes_per_pass = saved.max_lanes_per_pass

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

    def lane_statuses(self) -> list[LaneStatus]:
        """How far every lane of the order is."""
        running = set(self._numbers.values())
        return lane_statuses(self._order, self._queue, self._begun(), running=running, values=self._metrics)

    def close(self) -> None:
        """Mark the runs of lanes that have begun and not ended as interrupted, and send what MLflow has not heard."""
        if self._tracking is None:
            return
        if not self.done:
            for number in self._begun():
                self._desk.write_interruption(self._order.lanes[number])
        self._tracking.close()
        self._tracking = None

    def _first_sound(self, checkpoints: Sequence[Opener], load: Callable[[Path], None]) -> int | None:
        for place, checkpoint in enumerate(checkpoints):
            refused, damage = False, None
            try:
                with checkpoint() as directory:
                    load(Path(directory))
            except (FileNotFoundError, ObjectNotFound):
                refused = True  # half written, or half deleted, when a process was killed
            except DamagedFile as error:
                refused, damage = True, str(error)
            anywhere = torch.tensor([refused], dtype=torch.int64, device=self._gang.device)
            if not self._ranks.add(anywhere).item():
                return place
            # Another rank may have refused what this one took up.
            self._queue, self._parked_states = Queue(waiting=list(range(len(self._order.lanes)))), {}
            self._gang.max_lanes_per_pass = None
            if damage is None and self._ranks.world > 1:
                damage = "a worker could not read the checkpoint; its gang begins again"
            if damage is not None:
                logger.warning("%s", damage)
                self._note = damage
        return None

    def _go_on(self, saved: SavedQueue, numbers: Mapping[int, int], states: Mapping[int, LaneState]) -> None:
        """Take up lanes that have other numbers here."""
        parked = {numbers[number]: states[number] for number in numbers if number in states}
        queue = saved.queue.part(numbers)
        # Those that were at work go on first, in the same order, so that the same numbers come out.
        queue.waiting = [numbers[number] for number in saved.running if number in numbers] + queue.waiting
        again = self._without_outcome(queue)
        self._queue = queue.begun_again(again)
        self._parked_states = {number: state for number, state in parked.items() if number not in again}

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
        while self._queue.waiting and len(self._numbers) < self._order.width:
            number = self._queue.waiting.pop(0)
            order = self._order.lanes[number]
            # Halving needs to see all lanes of a task again, also those that were over before this gang began.
            if number not in self._parked_states and order.halving is None and self._desk.has_outcome(order):
                self._queue.ended[number] = Ended(steps=0)
            else:
                self._run(number)

    def _run(self, number: int) -> None:
        """Let a lane begin or go on; one that cannot ends here."""
        state = self._parked_states.pop(number, None)
        try:
            lane = self._source.lane(self._order.lanes[number].spec)
            state = state or lane.initial_state()
        except (InputError, ObjectNotFound) as error:
            self._fail(number, str(error))
            return
        self._numbers[self._gang.join(lane, state)] = number
        self._open_log(number, lane)

    def _open_log(self, number: int, lane: Lane) -> None:
        if number not in self._logs and (log := self._desk.open_run(self._order.lanes[number], lane)) is not None:
            self._logs[number] = log

    def _share_time(self, seconds: float) -> None:
        for number in self._numbers.values():
            self._queue.seconds[number] = self._queue.seconds.get(number, 0.0) + seconds / len(self._numbers)

    def _end_stopped(self) -> None:
        """Write the outcomes of lanes that have stopped, and free their rows."""
        stopped = [lane for lane in self._numbers if not lane.active]
        if not stopped:
            return
        self._desk.before_outcomes()
        for running in reversed(stopped):
            self._end(self._numbers.pop(running), running.lane, self._gang.leave(running))
        heap.trim()

    def _end(self, number: int, lane: Lane, state: LaneState) -> None:
        progress = state.progress
        if progress.stopped == "failed":
            self._fail(number, _too_large(lane, progress.step), steps=progress.step)
            return
        order, seconds = self._order.lanes[number], self._queue.seconds.get(number, 0.0)
        error = self._desk.write(order, lane, state, self._gang, log=self._logs.pop(number, None), seconds=seconds)
        score = None if progress.stopped == "diverged" else progress.best_score
        self._queue.ended[number] = Ended(steps=progress.step, score=score, error=error)

    def _fail(self, number: int, error: str, *, steps: int = 0) -> None:
        seconds = self._queue.seconds.get(number, 0.0)
        self._desk.write_failure(self._order.lanes[number], error, steps=steps, seconds=seconds)
        self._logs.pop(number, None)
        self._queue.ended[number] = Ended(steps=steps, error=error)

    def _park(self) -> None:
        """Lanes at a rung make room until the others of their task are there too."""
        for running, number in reversed(list(self._numbers.items())):
            board = self._board(number, running.lane)
            if board is not None and board.waits_at(running.progress.step):
                del self._numbers[running]
                self._parked_states[number] = self._gang.leave(running)
                self._queue.parked.append(number)

    def _board(self, number: int, lane: Lane) -> HalvingBoard | None:
        order = self._order.lanes[number]
        if order.halving is None:
            return None
        boards, task = self._queue.boards, order.spec.task
        if task not in boards:
            boards[task] = HalvingBoard.of(self._order.lanes, order, lane.evaluate_every)
        return boards[task]

    def _judge(self) -> None:
        """Where all lanes of a sweep are at their rung or over, the best go on and the others end."""
        for board in self._queue.boards.values():
            if parked := self._queue.all_at_rung(board):
                dropped = board.judge({number: self._score(number) for number in board.members})
                self._queue.go_on([number for number in parked if number not in dropped])
                self._drop([number for number in parked if number in dropped])

    def _score(self, number: int) -> Score:
        ended = self._queue.ended.get(number)
        return (self._parked_states[number].progress.best_score if ended is None else ended.score) or LOST

    def _drop(self, numbers: Sequence[int]) -> None:
        """Write the outcomes of parked lanes that do not go on."""
        if not numbers:
            return
        self._desk.before_outcomes()
        for number in numbers:
            self._queue.parked.remove(number)
            state = self._parked_states.pop(number)
            try:
                lane = self._source.lane(self._order.lanes[number].spec)
            except (InputError, ObjectNotFound) as error:
                self._fail(number, str(error))
                continue
            self._open_log(number, lane)
            self._end(number, lane, replace(state, progress=replace(state.progress, stopped="dropped")))
        heap.trim()

    def _log_evaluations(self, evaluations: Mapping[RunningLane, Evaluation]) -> tuple[int, Evaluation] | None:
        """Into MLflow; returns the last one and the number of its lane."""
        last = None
        for running, evaluation in evaluations.items():
            number = self._numbers[running]
            self._metrics[number] = evaluation.metrics[running.lane.spec.metric]
            if number in self._logs:
                log_evaluation(self._logs[number], evaluation)
            if evaluation.begins_again:
                learned_nothing = f"after {evaluation.step} steps no better than the most frequent class"
                self._note = f"{self._order.lanes[number].run_name}: {learned_nothing}; begins again with another draw"
            last = number, evaluation
        return last

    def _report(self, last: tuple[int, Evaluation] | None, *, evaluated: bool) -> GangReport:
        taken, planned = lane_steps(self._order, self._queue, self._begun())
        note, self._note = self._note, None
        report = GangReport(taken, planned, len(self._queue.ended), self.width, evaluated, note=note)
        if last is None:
            return report
        number, evaluation = last
        name, loss = self._order.lanes[number].run_name, evaluation.metrics["loss"]
        return replace(report, lane=name, metric=self._metrics[number], loss=loss)

    def _say_narrower(self) -> None:
        """To the log, and to those who compare the lanes' speed in MLflow."""
        logger.warning("memory ran out: from now on at most %d lanes share a pass", self.width)
        for number in self._numbers.values():
            if number in self._logs:
                self._logs[number].tags({"gang_width": self.width})

    def _tell_operators(self) -> None:
        if self._watch is not None and self._tracking is not None:
            unsent = self._tracking.unsent().events
            self._watch.report(self.lane_statuses(), width=self.width, done=self.done, unsent=unsent)

    def _begun(self) -> dict[int, Progress]:
        """Of lanes that have begun and are not over, by number."""
        running = {number: lane.progress for lane, number in self._numbers.items()}
        return running | {number: state.progress for number, state in self._parked_states.items()}


def _too_large(lane: Lane, step: int) -> str:
    return (
        f"{lane.spec.name}: its batch does not fit into memory at step {step}, even with no lane beside it; lower "
        f"recipe.batch_size, which is {lane.spec.recipe.batch_size}, or audio.max_seconds"
    )
