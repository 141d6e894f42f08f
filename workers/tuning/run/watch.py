"""Tells operators how a gang fares: a status file, a structured log, and gauges for Prometheus."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ray.util.metrics import Gauge

from infra import object_storage
from infra.errors import StorageError
from infra.json_log import log_fields
from workers.tuning.orders import GangOrder
from workers.tuning.run.status import STATUS_DIRECTORY, GangStatus, LaneStatus, write_status

GANG = ("job", "gang")
LANE = ("job", "gang", "task", "lane")


class Gauges:
    """The gauges of one worker process, set at reports and never in between."""

    def __init__(self) -> None:
        self._lanes = Gauge("speechprompt_lanes", "Lanes of a gang by state", (*GANG, "state"))
        self._step = Gauge("speechprompt_lane_step", "Optimizer steps that a lane has taken", LANE)
        self._metric = Gauge(
            "speechprompt_lane_valid_metric", "A lane's metric at its last evaluation on validation", (*LANE, "metric")
        )
        self._rate = Gauge("speechprompt_lane_steps_per_second", "Lane steps of a gang per second", GANG)
        self._checkpoint = Gauge(
            "speechprompt_checkpoint_timestamp_seconds", "When a gang was saved, or began, in Unix time", GANG
        )
        self._unsent = Gauge("speechprompt_unsent_tracking_events", "Events that MLflow does not have yet", GANG)
        self._frozen = Gauge("speechprompt_frozen_lm_bytes", "Bytes of the shared unit LM", ("job",))

    def set(self, job: str, status: GangStatus, *, rate: float, unsent: int, frozen: int) -> None:
        """Show the state of a gang.

        Args:
            job: name of the job.
            status: of the gang.
            rate: lane steps per second.
            unsent: tracking events that wait on disk.
            frozen: bytes of the shared LM.
        """
        gang = {"job": job, "gang": status.gang}
        counts = dict.fromkeys(("waiting", "tuning", "parked", "ended", "failed"), 0)
        for lane in status.lanes:
            counts[lane.state] += 1
            if lane.state != "waiting":
                tags = {**gang, "task": lane.task, "lane": lane.lane}
                self._step.set(lane.step, tags)
                if lane.value is not None:
                    self._metric.set(lane.value, {**tags, "metric": lane.metric})
        self._set_counts(gang, counts)
        saved = status.checkpoint or status.since
        self._rate.set(rate, gang)
        # A time and not an age: of a gang that hangs the age would stand still.
        self._checkpoint.set(saved.timestamp(), gang)
        self._unsent.set(unsent, gang)
        self._frozen.set(frozen, {"job": job})

    def _set_counts(self, gang: Mapping[str, str], counts: Mapping[str, int]) -> None:
        for state, count in counts.items():
            self._lanes.set(count, {**gang, "state": state})


SECONDS_BETWEEN_FILES = 5.0
"""A status file is no more often written than this, unless a lane has changed its state."""

logger = logging.getLogger("speechprompt.gang")


class GangWatch:
    """Follows one gang on one worker.

    Args:
        order: of the gang.
        device: that it is tuned on.
        gauges: of this process.
        frozen: bytes of the shared LM.
    """

    def __init__(self, order: GangOrder, *, device: str, gauges: Gauges, frozen: int) -> None:
        self._order, self._gauges, self._frozen = order, gauges, frozen
        # Beside the outcomes, which every worker of the job reaches.
        self._root = object_storage.join(object_storage.parent(order.outcomes), STATUS_DIRECTORY)
        now = datetime.now(UTC)
        self._status = GangStatus(
            gang=order.name,
            submission=order.parent_key,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=device,
            width=order.width,
            since=now,
            updated=now,
            lanes=[],
        )
        self._written = -SECONDS_BETWEEN_FILES
        self._steps: tuple[float, int] | None = None
        self._unwritable = False
        log_fields(job=order.experiment, gang=order.name)
        logger.info("took up a gang", extra={"width": order.width, "lanes": len(order.lanes)})

    def saved(self) -> None:
        """The gang has a new checkpoint."""
        self._status = self._status.model_copy(update={"checkpoint": datetime.now(UTC)})

    def report(self, lanes: Sequence[LaneStatus], *, width: int, done: bool, unsent: int) -> None:
        """Take the state of all lanes.

        Args:
            lanes: in the order of the gang.
            width: lanes that share a pass at most.
            done: whether every lane has ended.
            unsent: tracking events that wait on disk.
        """
        before = {lane.lane: lane for lane in self._status.lanes}
        changed = [lane for lane in lanes if lane != before.get(lane.lane)]
        for lane in changed:
            known = before.get(lane.lane)
            if lane.state != "waiting" and (known is None or (lane.state, lane.value) != (known.state, known.value)):
                self._log_lane(lane)
        turned = any(lane.lane not in before or lane.state != before[lane.lane].state for lane in changed)
        turned = turned or width != self._status.width
        update = {"updated": datetime.now(UTC), "lanes": list(lanes), "width": width, "done": done}
        self._status = self._status.model_copy(update=update)
        self._gauges.set(self._order.experiment, self._status, rate=self._rate(), unsent=unsent, frozen=self._frozen)
        if turned or done or time.monotonic() - self._written >= SECONDS_BETWEEN_FILES:
            self._write()

    def _rate(self) -> float:
        now, taken = time.monotonic(), sum(lane.step for lane in self._status.lanes)
        earlier, self._steps = self._steps, (now, taken)
        if earlier is None or now <= earlier[0]:
            return 0.0
        return max(0.0, (taken - earlier[1]) / (now - earlier[0]))

    def _write(self) -> None:
        self._written = time.monotonic()
        try:
            write_status(self._root, self._status)
        except StorageError as error:
            # What only operators read must not end what they look at; a store that is gone ends it by itself.
            if not self._unwritable:
                logger.warning("the status cannot be written: %s", error)
            self._unwritable = True
        else:
            self._unwritable = False

    def _log_lane(self, lane: LaneStatus) -> None:
        fields: dict[str, Any] = {"task": lane.task, "lane": lane.lane, "step": lane.step}
        if lane.value is not None:
            fields[lane.metric] = lane.value
        if lane.error is not None:
            fields["error"] = lane.error
        logger.log(logging.INFO if lane.error is None else logging.ERROR, "lane %s", lane.state, extra=fields)
