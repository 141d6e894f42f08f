"""The attempt that a job's submissions go on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import JobError
from orchestrator.job_files import begin_anew, first_attempt
from tests.fixtures.orders import lane_outcome
from tests.fixtures.tuning import lane_spec
from workers.tuning.orders import run_key
from workers.tuning.results.outcome import LaneOutcome


def outcome(attempt: int) -> LaneOutcome:
    return lane_outcome("a", lane_spec(), attempt=attempt)


def test_an_attempt_holds_until_the_job_begins_anew(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert first_attempt(root) == 1
    assert begin_anew(root, []) == 2
    assert (first_attempt(root), first_attempt(root)) == (2, 2)
    # Above what lanes that failed had been ordered for.
    assert begin_anew(root, [outcome(1), outcome(4)]) == 5
    assert first_attempt(root) == 5


@pytest.mark.parametrize("stored", [b"", b"0", b'"2"', b"[1]", b"{"])
def test_what_is_no_attempt_is_said_and_can_be_left_behind(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "attempt.json").write_bytes(stored)
    with pytest.raises(JobError, match=r"attempt\.json is .*; run the job with --restart"):
        first_attempt(str(tmp_path))
    assert begin_anew(str(tmp_path), []) == 2


def test_a_job_that_begins_anew_has_runs_of_its_own() -> None:
    assert (run_key("abc", 1), run_key("abc", 2)) == ("abc", "abc/2")
