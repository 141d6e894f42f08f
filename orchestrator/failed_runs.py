"""What MLflow hears of tasks that failed where no worker could say so."""

from __future__ import annotations

from infra.tracking import Tracking
from workers.lane_log import lane_run, log_failure
from workers.orders import LaneOrder


def log_lost_lane(tracking: Tracking, experiment: str, submission: str, lane: LaneOrder, error: str) -> None:
    """A lane whose actor is gone: its run fails, new or begun."""
    log_failure(lane_run(tracking, experiment, submission, lane), error)


def log_failed_task(tracking: Tracking, experiment: str, submission: str, task: str, error: str) -> None:
    """A task that has no lanes: a run of its own fails.

    Args:
        tracking: the store.
        experiment: of the job.
        submission: key of the run above.
        task: its name.
        error: why it has none.
    """
    log = tracking.run(
        experiment,
        task,
        key=f"{experiment}/failed/{task}",
        parent_key=submission,
        params={"task": task},
        tags={"task": task, "speechprompt.kind": "failed task"},
    )
    log_failure(log, error)
