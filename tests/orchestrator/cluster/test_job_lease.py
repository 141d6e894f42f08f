"""One submission of a job at a time, in a directory and in S3."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.errors import JobError
from orchestrator.cluster.lease import JobLease, ProcessIdentity
from orchestrator.exit_codes import TAKEN_OVER
from workers.job_store.files import LEASE

BEAT = 0.02


def lease(root: str, **settings: Any) -> JobLease:
    return JobLease(root, "job/now", **{"beat": BEAT, "lapse": 10 * BEAT, **settings})


def stored(root: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(LEASE.read(LEASE.at(root)))
    return content


def change(root: str, **fields: Any) -> None:
    LEASE.write(LEASE.at(root), json.dumps({**stored(root), **fields}).encode())


def held_elsewhere(root: str, **fields: Any) -> None:
    with lease(root):
        pass
    change(root, machine="another", released=False, **fields)


def test_a_second_submission_is_told_who_runs_the_job(store_root: str) -> None:
    with lease(store_root):
        with pytest.raises(JobError, match=rf"run by process \d+ on {socket.gethostname()} since 20\d\d-.* UTC; wait"):
            lease(store_root).__enter__()
        assert not stored(store_root)["released"]
    assert stored(store_root)["released"]
    with lease(store_root):
        pass


def test_of_submissions_at_once_one_has_it(store_root: str) -> None:
    start, end = threading.Barrier(4), threading.Event()

    def submit(_: int) -> bool:
        start.wait()
        try:
            with lease(store_root):
                end.wait()
        except JobError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        submitted = [pool.submit(submit, number) for number in range(4)]
        while sum(future.done() for future in submitted) < 3:
            end.wait(BEAT)
        end.set()
    assert sorted(future.result() for future in submitted) == [False, False, False, True]


HOLDER = "import sys, time; from orchestrator.cluster.lease import JobLease\n"
HOLDER += "with JobLease(sys.argv[1], 'first', beat=0.02): print('held', flush=True); time.sleep(60)"


def hold(root: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, root], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_process_of_this_machine_that_was_killed_is_followed_at_once(tmp_path: Path) -> None:
    holder = hold(str(tmp_path))
    with pytest.raises(JobError, match=f"process {holder.pid}"):
        lease(str(tmp_path)).__enter__()
    holder.kill()
    holder.communicate()
    with lease(str(tmp_path)):
        pass


def test_a_holder_that_was_taken_over_ends_and_touches_nothing(tmp_path: Path) -> None:
    holder = hold(str(tmp_path))
    change(str(tmp_path), holder="another", host="elsewhere")
    _, said = holder.communicate(timeout=600)
    assert holder.returncode == TAKEN_OVER
    assert "was taken over by process" in said
    assert len(said.splitlines()) == 1
    assert stored(str(tmp_path))["holder"] == "another"


CLOCKS = pytest.mark.parametrize("clock", [timedelta(days=-1), timedelta(), timedelta(days=1)], ids=str)
"""Of the machine of the holder, against this one's."""


@CLOCKS
def test_one_who_is_silent_is_followed_whatever_its_clock_says(store_root: str, clock: timedelta) -> None:
    held_elsewhere(store_root, renewed=(datetime.now(UTC) + clock).isoformat())
    began = time.monotonic()
    with lease(store_root):
        assert time.monotonic() - began >= 10 * BEAT
        assert stored(store_root)["machine"] == ProcessIdentity.own().machine


@CLOCKS
def test_one_who_renews_keeps_it_whatever_its_clock_says(tmp_path: Path, clock: timedelta) -> None:
    """Even one whose clock stands: only the count of its renewals changes."""
    renewed = (datetime.now(UTC) + clock).isoformat()
    held_elsewhere(str(tmp_path), renewed=renewed, renewals=7)
    beat = threading.Timer(5 * BEAT, change, [str(tmp_path)], {"renewals": 8})
    beat.start()
    with pytest.raises(JobError, match="is being run by process"):
        lease(str(tmp_path), lapse=60.0).__enter__()
    beat.join()
    assert stored(str(tmp_path))["renewed"] == renewed


@pytest.mark.parametrize("end", [lambda root: change(root, released=True), lambda root: Path(LEASE.at(root)).unlink()])
def test_the_watch_ends_when_the_holder_does(tmp_path: Path, end: Callable[[str], None]) -> None:
    held_elsewhere(str(tmp_path))
    holder = threading.Timer(5 * BEAT, end, [str(tmp_path)])
    holder.start()
    with lease(str(tmp_path), lapse=3600.0):
        assert stored(str(tmp_path))["machine"] == ProcessIdentity.own().machine
    holder.join()


def test_who_waits_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    held_elsewhere(str(tmp_path), host="far")
    with lease(str(tmp_path)):
        pass
    assert [record.getMessage() for record in caplog.records if "held by process" in record.getMessage()]
    assert "on far since" in caplog.text
    assert "on another machine; it is taken over unless it is renewed within 0 s" in caplog.text


def test_it_is_renewed_while_it_is_held(tmp_path: Path) -> None:
    with lease(str(tmp_path)):
        before = stored(str(tmp_path))["renewals"]
        while stored(str(tmp_path))["renewals"] == before:
            pass
    assert stored(str(tmp_path))["released"]


def test_a_pid_that_was_given_away_is_another_process() -> None:
    own = ProcessIdentity.own()
    assert own.runs()
    assert ProcessIdentity(own.machine, own.pid, own.started - 1).runs() is False
    assert ProcessIdentity(own.machine, 2**22 + 1, own.started).runs() is False
    assert ProcessIdentity("another", own.pid, own.started).runs() is None


def test_what_is_no_lease_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text("{}")
    with pytest.raises(JobError, match=r"lease\.json is .*; remove it"):
        lease(str(tmp_path)).__enter__()
