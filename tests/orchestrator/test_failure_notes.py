"""Notes of gangs that failed."""

from __future__ import annotations

from pathlib import Path

from orchestrator.job_files import note_failure, noted_failure


def test_a_failure_is_remembered_until_it_is_to_be_tried_again(tmp_path: Path) -> None:
    gang = str(tmp_path / "tune-1" / "gang000")
    assert noted_failure(gang) is None
    note_failure(gang, "its actor failed")
    assert noted_failure(gang) == "its actor failed"
    note_failure(gang, None)
    assert noted_failure(gang) is None
