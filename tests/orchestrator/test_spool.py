"""Where tracking data waits is the user's alone, or it is not used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from infra.errors import TrackingError
from orchestrator.job_files import spool_directory


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory like the system's."""
    place = tmp_path / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return place


def mode(path: Path | str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_it_is_private_and_the_same_each_time(tmp_path: Path, temporary: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for root, place in (
            (str(tmp_path / "runs/toy"), tmp_path / "runs/toy/spool"),
            ("s3://runs/toy", temporary / f"speechprompt-spool-{os.getuid()}/toy"),
        ):
            assert [spool_directory(root, "toy") for _ in range(2)] == [str(place)] * 2
            assert mode(place) == 0o700
    finally:
        os.umask(before)
    assert mode(tmp_path / "runs/toy") == 0o777 & ~umask, "the job's results may be read"


def test_a_storage_that_others_can_write_holds_none(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o777)
    assert spool_directory(str(tmp_path / "runs"), "toy").startswith(str(temporary))


def test_one_that_another_user_planted_is_refused(tmp_path: Path, temporary: Path) -> None:
    planted = temporary / f"speechprompt-spool-{os.getuid()}"
    target = tmp_path / "theirs"
    (target / "toy").mkdir(parents=True)
    planted.symlink_to(target)
    with pytest.raises(TrackingError, match="is a link; set TMPDIR to a directory of your own"):
        spool_directory("s3://runs/toy", "toy")
    planted.unlink()
    if os.getuid():
        return
    target.rename(planted)
    for theirs in (planted / "toy", planted):
        os.chown(theirs, 65534, 65534)
        with pytest.raises(TrackingError, match=r"belongs to another user \(uid 65534\); set TMPDIR"):
            spool_directory("s3://runs/toy", "toy")
