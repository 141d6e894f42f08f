"""Directories that are to be closed to other users."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from infra.errors import StorageError
from infra.private_directory import private_directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_one_that_is_made_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = private_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert (mode(made), mode(made.parent)) == (0o700, 0o700)


def test_one_that_others_could_read_is_closed(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    assert mode(private_directory(there)) == 0o700


def test_what_others_could_write_is_not_believed(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o777)
    with pytest.raises(StorageError, match=r"there can be written by other users \(mode 0777\)"):
        private_directory(there)
    with pytest.raises(StorageError, match=r"is in .*there, which other users can write"):
        private_directory(there / "below")


def test_in_a_sticky_directory_nobody_replaces_what_is_anothers(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert mode(private_directory(tmp_path / "mine")) == 0o700


def test_links_and_files_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="link is a link"):
        private_directory(tmp_path / "link")
    with pytest.raises(StorageError, match="file is not a directory"):
        private_directory(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_that_of_another_user_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir(0o700)
    os.chown(there, 65534, 65534)
    with pytest.raises(StorageError, match="belongs to another user"):
        private_directory(there)
    with pytest.raises(StorageError, match=r"is in .*there, which belongs to another user"):
        private_directory(there / "below")
