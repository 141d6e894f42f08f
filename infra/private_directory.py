"""Directories and files that no other user of the machine can read, enter or replace."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from infra.errors import StorageError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_directory(path: Path) -> Path:
    """Make a directory with mode 0700, whatever the umask, or check an existing one; missing parents are made likewise.

    A directory of this user that others can read is closed to them; one that others can write is refused.

    Args:
        path: absolute path.

    Returns:
        ``path``.

    Raises:
        StorageError: it cannot be made, is a link or not a directory, belongs to another user, or others can write it
            or a directory above it.
    """
    try:
        for missing in reversed([place for place in (path, *path.parents) if not os.path.lexists(place)]):
            _make(missing)
        _check_above(path)
        _check(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be used ({error.strerror}); name another place") from error
    return path


def write_private(path: Path, text: str) -> None:
    """Write or replace a file that only its owner can read, even while it is being written.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)


def _make(path: Path) -> None:
    try:
        path.mkdir(0o700)
    except FileExistsError:
        # Made by another process; the check that follows finds other users.
        return
    path.chmod(0o700)


def _check(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise StorageError(f"{path} is a link; remove it, or name another place")
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{path} is not a directory; remove it, or name another place")
    if found.st_uid != os.geteuid():
        raise StorageError(f"{path} belongs to another user (uid {found.st_uid}); name another place")
    if _open_to_others(found):
        raise StorageError(
            f"{path} can be written by other users (mode {stat.S_IMODE(found.st_mode):04o}), so its files may "
            "be theirs; look through it, then chmod 700 it, or name another place"
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


def _check_above(path: Path) -> None:
    for above in path.parents:
        found = above.stat()
        if found.st_uid not in (0, os.geteuid()):
            raise StorageError(
                f"{path} is in {above}, which belongs to another user (uid {found.st_uid}); name another place"
            )
        # In a sticky directory, such as /tmp, users cannot replace each other's files.
        if _open_to_others(found) and not found.st_mode & stat.S_ISVTX:
            raise StorageError(
                f"{path} is in {above}, which other users can write (mode {stat.S_IMODE(found.st_mode):04o}); "
                "name another place"
            )


def _open_to_others(found: os.stat_result) -> bool:
    """Return whether others can write; the user's own group does not count, since it often has only the user (umask
    002)."""
    theirs = stat.S_IWOTH if found.st_gid == os.getegid() else _OTHERS_WRITE
    return bool(found.st_mode & theirs)
