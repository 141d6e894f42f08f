"""What Prometheus sees of a job, through Ray's own metrics: ``ray_speechprompt_...`` on each node's metrics port."""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.metrics import Gauge

from workers.gang_status import GangStatus

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
