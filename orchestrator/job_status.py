"""Status of a job, read from the small files that its driver and workers write to its storage."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra import object_storage
from infra.errors import DamagedFile, JobError, ObjectNotFound
from orchestrator.cluster.lease import LAPSE_SECONDS, read_lease
from orchestrator.job import Job
from orchestrator.report import job_root
from workers.job_store.files import DRIVER_STATUS, GANG_STATUS
from workers.tuning.run.status import GangStatus, LaneStatus, read_status

Stage = Literal["tokenizing", "tuning", "publishing", "ended"]


class DriverStatus(BaseModel):
    """Last status that the driver wrote.

    Attributes:
        submission: key of the submission.
        host, pid: host name and process ID of the driver.
        submitted: time of the submission.
        stage, since: current stage, and when it began.
        tasks: number of tasks of the job.
        lanes: number of lanes to tune; 0 until it is known.
        failures: why tasks have failed so far, by name.
        outcome: how the job ended; ``None`` while it runs.
        left: keys of submissions, including this one, whose runs MLflow may show as running after their end.
    """

    model_config = ConfigDict(extra="forbid")

    submission: str = Field(max_length=400)
    host: str = Field(max_length=256)
    pid: int
    submitted: datetime
    stage: Stage
    since: datetime
    tasks: int = Field(ge=0)
    lanes: int = Field(0, ge=0)
    failures: dict[str, str] = Field({}, max_length=100_000)
    outcome: str | None = Field(None, max_length=4000)
    left: list[str] = Field([], max_length=100_000)


class JobStatus(BaseModel):
    """Status of a job.

    Attributes:
        job: name of the job.
        driver: status of the last submission's driver.
        gangs: status of that submission's gangs.
        last_sign: when the driver, which renews its lease, or a worker last wrote anything.
    """

    job: str
    driver: DriverStatus
    gangs: list[GangStatus]
    last_sign: datetime

    def silent(self, now: datetime) -> bool:
        """Return whether an unfinished job seems to have lost its driver."""
        return self.driver.stage != "ended" and (now - self.last_sign).total_seconds() > LAPSE_SECONDS


class DriverLog:
    """Writer of the driver's status, for the holder of the job's lease.

    Args:
        job: job that the driver runs.
        submission: key of the submission.
        submitted: time of the submission.
        tasks: number of tasks of the job.

    Attributes:
        killed: key of the previous submission, if it began tuning and did not end by itself.
    """

    def __init__(self, job: Job, submission: str, submitted: datetime, tasks: int) -> None:
        self._place = DRIVER_STATUS.at(job_root(job))
        self._status = DriverStatus(
            submission=submission,
            host=socket.gethostname(),
            pid=os.getpid(),
            submitted=submitted,
            stage="tokenizing",
            since=submitted,
            tasks=tasks,
            left=[submission],
        )
        self.killed: str | None = None
        if (before := _last_status(self._place)) is not None:
            self._status.left[:0] = before.left
            if before.stage in ("tuning", "publishing"):
                self.killed = before.submission

    @property
    def left(self) -> list[str]:
        """Keys of submissions, this one last, whose runs MLflow may show as running."""
        return self._status.left

    def none_left(self) -> None:
        """Record that MLflow shows no run of any submission as running.

        Raises:
            StorageError: the job's storage cannot be written.
        """
        self._status = self._status.model_copy(update={"left": []})
        self._write()

    def enter(
        self,
        stage: Stage,
        *,
        lanes: int | None = None,
        failures: Mapping[str, str] | None = None,
        outcome: str | None = None,
    ) -> None:
        """Record that the driver enters a stage.

        Args:
            stage: the stage.
            lanes: number of lanes to tune, once known.
            failures: why tasks have failed, by name.
            outcome: how the job ended.

        Raises:
            StorageError: the job's storage cannot be written.
        """
        update: dict[str, Any] = {"stage": stage, "since": datetime.now(UTC), "outcome": outcome}
        if lanes is not None:
            update["lanes"] = lanes
        if failures is not None:
            update["failures"] = dict(failures)
        self._status = self._status.model_copy(update=update)
        self._write()

    def _write(self) -> None:
        DRIVER_STATUS.write(self._place, self._status.model_dump_json().encode())


def _last_status(place: str) -> DriverStatus | None:
    try:
        return DriverStatus.model_validate_json(DRIVER_STATUS.read(place))
    except (ObjectNotFound, DamagedFile, ValidationError):
        # A damaged one is replaced; only the list of runs to end in MLflow is lost.
        return None


def job_status(job: Job) -> JobStatus:
    """Read the status of a job.

    Raises:
        JobError: the job was never submitted.
        StorageError: the job's storage cannot be read, or a file in it is damaged.
    """
    root, place = GANG_STATUS.directory(job_root(job)), DRIVER_STATUS.at(job_root(job))
    try:
        driver = DriverStatus.model_validate_json(DRIVER_STATUS.read(place))
    except ObjectNotFound as error:
        raise JobError(
            f"{job.source}: nothing is stored of job '{job.name}' in {job.storage}; run it with 'speechprompt run'"
        ) from error
    except ValidationError as error:
        raise DRIVER_STATUS.damaged(place, "is not a status that this version reads") from error
    files = [object_storage.join(root, name) for name in sorted(object_storage.list_files(root))]
    found = [read_status(file) for file in files if file != place and file.endswith(".json")]
    lease = read_lease(job_root(job))
    signs = [lease.renewed] if lease is not None and lease.submission == driver.submission else []
    gangs = _latest([gang for gang in found if gang.submission == driver.submission], driver.failures)
    return JobStatus(
        job=job.name,
        driver=driver,
        gangs=gangs,
        last_sign=max([driver.since, *signs, *(gang.updated for gang in gangs)]),
    )


def _latest(gangs: Sequence[GangStatus], failures: Mapping[str, str]) -> list[GangStatus]:
    """Keep each lane in the gang that started it last, and mark lanes of failed tasks as failed.

    Files of dead workers stay as they were.
    """
    last: dict[str, GangStatus] = {}
    for gang in sorted(gangs, key=lambda gang: gang.since):
        last |= {lane.lane: gang for lane in gang.lanes}
    kept = []
    for gang in gangs:
        lanes = [_lost(lane, failures) for lane in gang.lanes if last[lane.lane] is gang]
        if lanes:
            kept.append(gang.model_copy(update={"lanes": lanes}))
    return kept


def _lost(lane: LaneStatus, failures: Mapping[str, str]) -> LaneStatus:
    if lane.task not in failures or lane.state in ("ended", "failed"):
        return lane
    return lane.model_copy(update={"state": "failed", "error": failures[lane.task]})
