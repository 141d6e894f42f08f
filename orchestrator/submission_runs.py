"""What MLflow is told of submissions, lanes and tasks that cannot tell it themselves: they were killed, or failed
before they began."""

from __future__ import annotations

from datetime import datetime

from infra.errors import TrackingUnreachable
from infra.tracking import Tracking, end_left_runs
from orchestrator.job import Job
from orchestrator.job_status import DriverLog
from orchestrator.progress import ProgressView
from workers.tuning.orders import LaneOrder
from workers.tuning.results.mlflow_columns import lane_run, log_failure


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


SUBMISSION = {"speechprompt.kind": "submission"}
"""Tag of the runs of submissions."""


def submission_key(job: str, submitted: datetime) -> str:
    """By which the run of a submission is found."""
    return f"{job}/{submitted:%Y-%m-%dT%H:%M:%S.%f}"


def submission_name(key: str) -> str:
    """What the UI calls the run of a submission."""
    return f"submission {datetime.fromisoformat(key.rpartition('/')[2]):%Y-%m-%d %H:%M}"


def log_killed(tracking: Tracking, job: Job, log: DriverLog) -> None:
    """The submission before did not say that it ended."""
    if log.killed is not None:
        run = tracking.run(job.name, submission_name(log.killed), key=log.killed, tags=SUBMISSION)
        run.finish("KILLED")


def end_what_is_left(job: Job, log: DriverLog, view: ProgressView) -> None:
    """Once nothing of the job runs: neither do lanes of killed submissions that this one did not go on with, as when
    their task has been taken out of the job.

    Raises:
        StorageError: the job's storage cannot be written.
    """
    if len(log.left) > 1:
        try:
            end_left_runs(job.tracking, job.name, log.left)
        except TrackingUnreachable as error:
            view.line(f"MLflow: runs of killed submissions may be shown as running until the next run; {error}")
            return
    log.none_left()
