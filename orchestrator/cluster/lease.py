"""Lease of a job, which lets one submission run at a time: its holder renews it in the job's storage.

``<job root>/lease.json`` is replaced only if it is unchanged since it was read, so that of two submissions one gets
it. The holder releases it at its end. If the holder was killed on this machine, its process is known to be gone; if it
runs elsewhere, it counts as gone once it has not renewed its lease while being watched. Times in the file are for
people: the clocks of two machines are never compared.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra import object_storage
from infra.errors import DamagedFile, JobError, ObjectNotFound, StorageError, TooLarge
from infra.printable import printable
from orchestrator.exit_codes import TAKEN_OVER
from workers.job_store.files import LEASE

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19
"""Indices of fields of ``/proc/<pid>/stat``, counted after the program's name, which may hold any characters."""


@dataclass(frozen=True)
class ProcessIdentity:
    """Identity of a process that stays valid when its process ID is reused.

    Attributes:
        machine: digest of the machine's boot ID and the container; empty if they are unknown.
        pid: process ID.
        started: start of the process in clock ticks since boot.
    """

    machine: str
    pid: int
    started: int

    @classmethod
    def own(cls) -> ProcessIdentity:
        """Return the identity of this process."""
        pid = os.getpid()
        _, started = _stat(pid) or ("", 0)
        return cls(_machine(), pid, started)

    def runs(self) -> bool | None:
        """Return whether the process runs; ``None`` if it is on another machine."""
        if not self.machine or self.machine != _machine():
            return None
        found = _stat(self.pid)
        return found is not None and found[0] not in "ZX" and found[1] == self.started


def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        container = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {container}".encode()).hexdigest()[:16]


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[_STATE], int(fields[_STARTED])


BEAT_SECONDS = 10.0
LAPSE_SECONDS = 60.0
"""Several beats, and longer than botocore's wait for a store that was down."""
LOOKS_PER_BEAT = 10
ATTEMPTS = 5

logger = logging.getLogger("speechprompt.lease")


class Lease(BaseModel):
    """Content of the lease file.

    Attributes:
        holder: random ID of the submission.
        host, machine, pid, started: process of the holder, for people and for `ProcessIdentity`.
        submission: key of the submission's MLflow run.
        since, renewed: start and last renewal, by the holder's clock.
        renewals: number of renewals, which makes all contents differ even if the clock stands still.
        released: whether the holder has ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    holder: str = Field(max_length=64)
    host: str = Field(max_length=256)
    machine: str = Field(max_length=64)
    pid: int
    started: int
    submission: str = Field(max_length=512)
    since: datetime
    renewed: datetime
    renewals: int = Field(0, ge=0)
    released: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class JobLease:
    """The right to run a job, held as a context manager.

    A holder whose lease was taken over ends at once and writes nothing more: its files are complete, and another
    submission works with them now.

    Args:
        root: directory of the job.
        submission: key of this submission.
        beat: seconds between renewals.
        lapse: seconds without a renewal after which the lease of a holder elsewhere is taken over.
        on_lost: function called, in a separate thread, when another submission has taken over.

    Raises:
        JobError: another submission runs the job.
        StorageError: the lease cannot be written.
    """

    def __init__(
        self,
        root: str,
        submission: str,
        *,
        beat: float = BEAT_SECONDS,
        lapse: float = LAPSE_SECONDS,
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        self._file = LEASE.at(root)
        self._beat_seconds, self._lapse = beat, lapse
        self._on_lost = on_lost or _end_process
        process, now = ProcessIdentity.own(), datetime.now(UTC)
        self._lease = Lease(
            holder=secrets.token_hex(16),
            host=socket.gethostname(),
            machine=process.machine,
            pid=process.pid,
            started=process.started,
            submission=submission,
            since=now,
            renewed=now,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="speechprompt-lease", daemon=True)

    def __enter__(self) -> Self:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        try:
            self._write(released=True)
        except StorageError as reason:
            # The work is done; the next submission finds this process gone, or the lease lapsed.
            logger.warning("the job's lease is not released, and lapses in %.0f s: %s", self._lapse, reason)

    def _acquire(self) -> None:
        for _ in range(ATTEMPTS):
            current, version = _read(self._file)
            if current is not None and not self._is_free(current, version):
                raise JobError(
                    f"{self._file}: this job is being run by {current}; wait until it ends, end it, or give this job "
                    "another name"
                )
            if object_storage.write_if_version(self._file, _content(self._file, self._lease), version):
                return
        raise JobError(f"{self._file}: other submissions of this job came in between; submit it again")

    def _is_free(self, current: Lease, version: str | None) -> bool:
        """Return whether the holder is gone; on another machine it is watched until it renews or releases the lease, or
        the lease lapses."""
        if current.released:
            return True
        runs = ProcessIdentity(current.machine, current.pid, current.started).runs()
        if runs is not None:
            return not runs
        logger.warning(
            "%s: held by %s on another machine; it is taken over unless it is renewed within %.0f s",
            self._file,
            current,
            self._lapse,
        )
        until = time.monotonic() + self._lapse
        while time.monotonic() < until:
            time.sleep(self._beat_seconds / LOOKS_PER_BEAT)
            latest, seen = _read(self._file)
            if seen != version:
                return latest is None or latest.released
        return True

    def _write(self, *, released: bool) -> Lease | None:
        """Renew or release the lease; return the lease of the submission that has taken it over, if any."""
        while True:
            current, version = _read(self._file)
            if current is not None and current.holder != self._lease.holder:
                return current
            self._lease = self._lease.model_copy(
                update={"renewed": datetime.now(UTC), "renewals": self._lease.renewals + 1, "released": released}
            )
            if object_storage.write_if_version(self._file, _content(self._file, self._lease), version):
                return None

    def _beat(self) -> None:
        while not self._stop.wait(self._beat_seconds):
            try:
                taken = self._write(released=False)
            except (StorageError, JobError) as error:
                # Nobody can take over while the store is down; the next beat tries again.
                logger.warning("the job's lease could not be renewed: %s", error)
                continue
            if taken is not None:
                self._on_lost(f"{self._file}: this job was taken over by {taken}; this submission ends")
                return


def read_lease(root: str) -> Lease | None:
    """Read the lease of the submission that runs the job, or ran it last.

    Args:
        root: directory of the job.

    Raises:
        JobError: the file is not a lease.
        StorageError: the file cannot be read.
    """
    return _read(LEASE.at(root))[0]


def _read(file: str) -> tuple[Lease | None, str | None]:
    try:
        data, version = object_storage.read_versioned(file, limit=LEASE.limit)
    except ObjectNotFound:
        return None, None
    except TooLarge as error:
        raise JobError(str(LEASE.damaged(file, "is larger than any lease"))) from error
    try:
        return Lease.model_validate_json(LEASE.unseal(file, data)), version
    except DamagedFile as error:
        raise JobError(str(error)) from error
    except ValidationError as error:
        raise JobError(str(LEASE.damaged(file, "is not a lease that this version reads"))) from error


def _content(file: str, lease: Lease) -> bytes:
    return LEASE.seal(file, lease.model_dump_json(indent=2).encode())


def _end_process(message: str) -> None:
    """End the process without an exception, which would save the state of an experiment that is now another's."""
    print(printable(f"error: {message}"), file=sys.stderr, flush=True)  # noqa: T201
    os._exit(TAKEN_OVER)
