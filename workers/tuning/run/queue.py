"""Where the lanes of a gang order are: waiting, tuned, parked or over; and the checkpoint file that says so."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workers.tuning.run.halving import HalvingBoard, Score

QUEUE_FILE = "queue.json"


class Ended(BaseModel):
    """A lane that is over: how many steps it took, how good it was if it was any good, and why it has no prompt."""

    steps: int
    score: Score | None = None
    error: str | None = None


class Queue(BaseModel):
    """Where every lane of an order is but those that are being tuned; lanes by number.

    Attributes:
        waiting: to join, the next one first.
        parked: waiting at a rung of their sweep's halving.
        ended: over, with an outcome.
        boards: halving of the sweeps, by task.
        seconds: time that each lane has had.
    """

    waiting: list[int]
    parked: list[int] = []
    ended: dict[int, Ended] = {}
    boards: dict[str, HalvingBoard] = {}
    seconds: dict[int, float] = {}

    def all_at_rung(self, board: HalvingBoard) -> list[int]:
        """Lanes of a sweep that are parked, once none of its lanes is on its way to the rung."""
        members = board.members
        if any(number not in self.parked and number not in self.ended for number in members):
            return []
        return [number for number in members if number in self.parked]

    def go_on(self, lanes: Sequence[int]) -> None:
        """Let parked lanes be the next to join."""
        self.parked = [number for number in self.parked if number not in lanes]
        self.waiting = [*lanes, *self.waiting]

    def part(self, numbers: Mapping[int, int]) -> Queue:
        """Of some lanes, which have other numbers in an order of their own.

        Args:
            numbers: by number here, the one there; of all lanes of a task with halving, or of none of them.
        """

        def known(lanes: Iterable[int]) -> list[int]:
            return [numbers[lane] for lane in lanes if lane in numbers]

        boards = {
            task: board.model_copy(update={"lanes": {point: known(lanes) for point, lanes in board.lanes.items()}})
            for task, board in self.boards.items()
            if all(lane in numbers for lanes in board.lanes.values() for lane in lanes)
        }
        return Queue(
            waiting=known(self.waiting),
            parked=known(self.parked),
            ended={numbers[lane]: ended for lane, ended in self.ended.items() if lane in numbers},
            boards=boards,
            seconds={numbers[lane]: seconds for lane, seconds in self.seconds.items() if lane in numbers},
        )

    def begun_again(self, lanes: Collection[int]) -> Queue:
        """With lanes that are as if they never had begun; all lanes of a task with halving, or none of them."""
        return Queue(
            waiting=[lane for lane in self.waiting if lane not in lanes] + sorted(lanes),
            parked=[lane for lane in self.parked if lane not in lanes],
            ended={lane: ended for lane, ended in self.ended.items() if lane not in lanes},
            boards={
                task: board
                for task, board in self.boards.items()
                if not any(lane in lanes for members in board.lanes.values() for lane in members)
            },
            seconds={lane: seconds for lane, seconds in self.seconds.items() if lane not in lanes},
        )


class SavedQueue(BaseModel):
    """What a checkpoint says of the lanes of an order.

    Attributes:
        lanes: their keys; a lane's number is its place.
        running: those that were being tuned, in the gang's order.
        max_lanes_per_pass: lanes that share a pass at most, since more did not fit into memory; ``None``: all.
        queue: where the others were.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    lanes: list[str]
    running: list[int] = Field(alias="seated")
    max_lanes_per_pass: int | None = Field(default=None, ge=1, alias="shared_by")
    queue: Queue

    @model_validator(mode="after")
    def _every_lane_once(self) -> Self:
        queue = self.queue
        if sorted([*self.running, *queue.waiting, *queue.parked, *queue.ended]) != list(range(len(self.lanes))):
            raise ValueError(f"the {len(self.lanes)} lanes are not each in one place")
        return self

    @property
    def begun(self) -> set[int]:
        """Lanes that cannot go on without their state."""
        return {*self.running, *self.queue.parked}

    def write(self, directory: Path) -> None:
        """Into a checkpoint."""
        # Not pydantic's JSON, in which the score of a lane that was never measured, minus infinity, is null.
        (directory / QUEUE_FILE).write_text(json.dumps(self.model_dump()))

    @classmethod
    def read(cls, directory: Path) -> SavedQueue:
        """From a checkpoint that was checked.

        Raises:
            ValueError: the file is of another version.
        """
        return cls.model_validate(json.loads((directory / QUEUE_FILE).read_bytes()))
