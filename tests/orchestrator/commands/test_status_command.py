"""``speechprompt status``, on what driver and workers leave in storage."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from infra import object_storage
from orchestrator.cluster.lease import LAPSE_SECONDS, JobLease
from orchestrator.commands.status import age, status_view
from orchestrator.job import load_job
from orchestrator.job_status import DriverLog, job_status
from orchestrator.report import job_root
from tests.fixtures.command_line import speechprompt
from tests.fixtures.tiny_job import write_yaml
from workers.tuning.run.status import GangStatus, LaneStatus, Standing, write_status

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def job_file(tmp_path: Path, store_root: str) -> Path:
    """Of a job whose storage is a directory, and in S3."""
    job = {"name": "toy", "backbone": "backbone", "tasks": "tasks/*.yaml", "storage": store_root}
    return write_yaml(tmp_path / "job.yaml", job)


def root(job_file: Path) -> str:
    return job_root(load_job(str(job_file)))


def driver(job_file: Path, submission: str) -> DriverLog:
    return DriverLog(load_job(str(job_file)), submission, datetime.now(UTC), tasks=2)


def leave(job_file: Path, gang: str, submission: str, lanes: dict[str, Standing], minutes: float = 5) -> None:
    """The file of a worker that took up a gang some minutes ago."""
    statuses = [
        LaneStatus(
            lane=name,
            task=name.split()[0],
            state=state,
            step=20,
            steps=60,
            metric="accuracy",
            value=0.75,
            error="its file is gone" if state == "failed" else None,
        )
        for name, state in lanes.items()
    ]
    status = GangStatus(
        gang=gang,
        submission=submission,
        host="node7",
        pid=4711,
        device="cuda",
        width=2,
        since=datetime.now(UTC) - timedelta(minutes=minutes),
        updated=datetime.now(UTC),
        checkpoint=datetime.now(UTC) - timedelta(seconds=30),
        lanes=statuses,
    )
    write_status(f"{root(job_file)}/status", status)


def test_a_job_that_never_ran_is_told_so(job_file: Path) -> None:
    done = speechprompt("status", str(job_file))
    assert done.code == 2
    assert "nothing is stored of job 'toy'" in done.stderr


def test_it_shows_what_runs_where_and_how_far_it_is(job_file: Path) -> None:
    driver(job_file, "toy/2").enter("tuning", lanes=5)
    leave(job_file, "gang000", "toy/2", {"tones s0": "tuning", "orders s0": "failed", "orders s1": "ended"})
    leave(job_file, "gang001", "toy/1", {"tones s0": "ended"})
    done = speechprompt("status", str(job_file))
    assert (done.code, done.stderr) == (0, "")
    assert "toy: tuning for " in done.stdout
    assert "2 tasks, 5 lanes: 1 tuning, 2 waiting, 1 ended, 1 failed" in done.stdout
    [row] = [line for line in done.stdout.splitlines() if "tones s0" in line]
    for part in ("tuning", "20/60", "75.0 accuracy", "node7 pid 4711 (cuda)", "5 min"):
        assert part in row
    assert "orders s0: its file is gone" in done.stdout
    assert "orders s1" not in done.stdout


def test_programs_get_all_of_it(job_file: Path) -> None:
    driver(job_file, "toy/2").enter("ended", lanes=1, outcome="1 of 2 tasks published")
    leave(job_file, "gang000", "toy/2", {"tones s0": "ended"})
    found = json.loads(speechprompt("status", str(job_file), "--json").stdout)
    assert found["driver"]["outcome"] == "1 of 2 tasks published"
    shown = speechprompt("status", str(job_file)).stdout
    assert re.match(r"toy: ended \d+ s ago: 1 of 2 tasks published; submitted ", shown)
    assert "sign of life" not in shown
    assert [lane["lane"] for gang in found["gangs"] for lane in gang["lanes"]] == ["tones s0"]
    assert speechprompt("status", str(job_file), "--watch").code == 0, "it returns when the job has ended"


def test_a_file_that_is_none_is_named(job_file: Path) -> None:
    driver(job_file, "toy/1").enter("tuning")
    object_storage.write_bytes(f"{root(job_file)}/status/gang000.json", b'{"gang": 1}')
    done = speechprompt("status", str(job_file))
    assert done.code == 2
    assert "gang000.json is cut off, altered, or written by a version that did not seal it; delete it" in done.stderr


def test_a_driver_lives_as_long_as_it_renews_its_lease(job_file: Path) -> None:
    driver(job_file, "toy/1").enter("tuning", lanes=1)
    begun = job_status(load_job(str(job_file))).last_sign
    with JobLease(root(job_file), "toy/1"):
        status = job_status(load_job(str(job_file)))
    assert status.last_sign > begun
    with JobLease(root(job_file), "toy/2"):
        assert job_status(load_job(str(job_file))).last_sign == begun, "of another submission"
    for seconds, gone in ((LAPSE_SECONDS - 1, False), (LAPSE_SECONDS + 1, True)):
        shown = io.StringIO()
        Console(width=300, file=shown).print(status_view(status, status.last_sign + timedelta(seconds=seconds)))
        assert ("seems to be gone, run the job again" in shown.getvalue()) is gone


def test_a_lane_stands_where_it_was_taken_up_last(job_file: Path) -> None:
    log = driver(job_file, "toy/2")
    log.enter("tuning", lanes=3)
    leave(job_file, "gang000", "toy/2", {"tones s0": "tuning", "kills s0": "tuning", "orders s0": "ended"})
    leave(job_file, "gang000-alone-tones", "toy/2", {"tones s0": "ended"}, minutes=4)
    leave(job_file, "gang000-alone-kills", "toy/2", {"kills s0": "tuning"}, minutes=4)
    assert "3 lanes: 1 tuning, 2 ended" in speechprompt("status", str(job_file)).stdout
    log.enter("publishing", failures={"kills": "its worker process died", "silent": "none of its clips can be used"})
    shown = speechprompt("status", str(job_file)).stdout
    assert "3 lanes: 2 ended, 1 failed" in shown
    assert "kills s0: its worker process died" in shown
    assert "silent: none of its clips can be used" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (90_000, "1 d 1 h")]
)
def test_ages_have_two_units(seconds: int, text: str) -> None:
    assert age(NOON, NOON + timedelta(seconds=seconds)) == text


def test_whoever_comes_after_a_kill_learns_whose_runs_may_be_shown_as_running(job_file: Path) -> None:
    assert driver(job_file, "toy/1").killed is None
    first = driver(job_file, "toy/1")
    first.enter("tuning")
    killed_early = driver(job_file, "toy/2")
    assert (killed_early.killed, killed_early.left) == ("toy/1", ["toy/1", "toy/2"])
    killed_early.enter("tokenizing")
    third = driver(job_file, "toy/3")
    assert (third.killed, third.left) == (None, ["toy/1", "toy/2", "toy/3"])
    third.enter("ended")
    third.none_left()
    assert driver(job_file, "toy/4").left == ["toy/4"]
    place = f"{root(job_file)}/status/driver.json"
    object_storage.write_bytes(place, b"{")
    assert driver(job_file, "toy/5").left == ["toy/5"]
