"""Object storage in local directories: atomic, durable, and safe for concurrent writers of one name."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from infra.errors import DamagedFile, ObjectNotFound, StorageError, TooLarge

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A file before it gets its final name; a crash can leave one, which listings hide.
_PART = ".speechprompt-part"
# Held while a version is compared and replaced; its holder removes it.
_LOCK = ".speechprompt-lock"
_BLOCK = 1 << 20
_HANDED_OVER = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Pipes that a shell passes by name, as for ``<(command)``; any other pipe may have no writer."""


def check(root: str) -> None:
    with _explained(root):
        there = next(place for place in (Path(root), *Path(root).parents) if place.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if there != Path(root) and not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def exists(uri: str) -> bool:
    with _explained(uri):
        return Path(uri).is_file()


def read_bytes(uri: str, limit: int | None) -> bytes:
    with _explained(uri), _opened(uri, links=True) as file:
        return _read(file, uri, limit)


def read_own(uri: str, limit: int) -> bytes:
    with _explained(uri), _opened(uri, links=False) as file:
        return _read(file, uri, limit)


def digest_own(uri: str, size: int) -> str:
    """Return the SHA-256 of a file of a known size, without holding it in memory.

    Raises:
        ObjectNotFound: there is no such file.
        DamagedFile: it is a link, not a regular file, or has another size.
        StorageError: it cannot be read.
    """
    with _explained(uri), _opened(uri, links=False) as file:
        if (found := os.fstat(file.fileno()).st_size) != size:
            raise DamagedFile(f"has {found} bytes instead of {size}", where=uri, remedy="remove it")
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
        return digest.hexdigest()


def _read(file: BinaryIO, uri: str, limit: int | None) -> bytes:
    if limit is None:
        return file.read()
    size = os.fstat(file.fileno()).st_size
    blocks, room = [], limit + 1
    # The file may grow, or be a pipe without a size. In blocks, since a large limit must not reserve memory.
    while size <= limit and room and (block := file.read(min(room, max(size, _BLOCK)))):
        blocks.append(block)
        room -= len(block)
    if size > limit or not room:
        raise TooLarge(f"is larger than the {limit} bytes allowed here", where=uri, remedy="replace it")
    return b"".join(blocks)


@contextmanager
def _opened(uri: str, *, links: bool) -> Iterator[BinaryIO]:
    """Open a regular file, without waiting for a pipe or a device.

    Args:
    uri: path of the file.
    links: whether links are followed, as for users' files; for this product's own files, a link is damage.
    """
    # A shell passes a link to a pipe, which is waited for.
    handed_over = links and uri.startswith(_HANDED_OVER)
    flags = (0 if handed_over else os.O_NONBLOCK) | (0 if links else os.O_NOFOLLOW)
    wrong, remedy = (StorageError, "name a file") if links else (DamagedFile, "remove it")
    try:
        descriptor = os.open(uri, os.O_RDONLY | os.O_CLOEXEC | flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise wrong(f"{uri} is a link that is not followed; {remedy}") from error
        if error.errno == errno.ENXIO:
            raise wrong(f"{uri} is a socket or a device, not a file; {remedy}") from error
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode) or not (handed_over or stat.S_ISREG(mode)):
        os.close(descriptor)
        if stat.S_ISDIR(mode) and links:
            raise StorageError("is a directory, not a file", where=uri, remedy="name a file in it")
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), uri)
        raise wrong(f"{uri} is a pipe or a device, not a file; {remedy}")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def read_versioned(uri: str, limit: int | None) -> tuple[bytes, str]:
    with _explained(uri), _opened(uri, links=False) as file:
        data = _read(file, uri, limit)
    return data, _version(data)


def write_bytes(uri: str, data: bytes) -> None:
    with _explained(uri):
        _replace(Path(uri), lambda file: file.write(data))


def write_if_absent(uri: str, data: bytes) -> bool:
    target = Path(uri)
    with _explained(uri):
        part = _write_part(target, lambda file: file.write(data))
        try:
            # Unlike rename, link fails if the name exists, so one of several writers wins, with a whole file.
            os.link(part, target)
        except FileExistsError:
            return False
        finally:
            part.unlink()
        _sync_directory(target.parent)
    return True


def write_if_version(uri: str, data: bytes, version: str) -> bool:
    target = Path(uri)
    with _explained(uri), _locked(target):
        try:
            current = read_bytes(uri, None)
        except ObjectNotFound:
            return False
        if _version(current) != version:
            return False
        _replace(target, lambda file: file.write(data))
    return True


def remove(uri: str) -> None:
    with _explained(uri):
        Path(uri).unlink(missing_ok=True)


def list_files(root: str) -> list[str]:
    def refuse(error: OSError) -> None:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR) or error.filename != root:
            raise error

    with _explained(root):
        return [
            (Path(directory) / name).relative_to(root).as_posix()
            for directory, _, names in os.walk(root, onerror=refuse)
            for name in names
            if not name.endswith((_PART, _LOCK))
        ]


def upload(local_path: str, uri: str) -> None:
    with _explained(local_path), _opened(local_path, links=True) as source:
        receive(uri, lambda file: shutil.copyfileobj(source, file))


def download(uri: str, local_path: str) -> None:
    upload(uri, local_path)


def receive(local_path: str, fill: Callable[[BinaryIO], object]) -> None:
    """Write the file ``local_path`` with ``fill``; it appears only when ``fill`` is done."""
    with _explained(local_path):
        _replace(Path(local_path), fill)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(target: Path, fill: Callable[[BinaryIO], object]) -> None:
    part = _write_part(target, fill)
    try:
        part.replace(target)
    except OSError:
        part.unlink()
        raise
    _sync_directory(target.parent)


def _write_part(target: Path, fill: Callable[[BinaryIO], object]) -> Path:
    """Write a new file beside ``target``, synced to disk, with the permissions that the umask grants."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{secrets.token_hex(8)}{_PART}"
    with part.open("xb") as file:
        try:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            part.unlink()
            raise
    return part


def _sync_directory(directory: Path) -> None:
    """Make a new name in ``directory`` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock of ``target`` against other processes and threads; the kernel frees it when the holder dies."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}{_LOCK}"
    while True:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The last holder may have unlinked the file meanwhile; a lock on it would exclude nobody.
            if not _is_named(file.fileno(), lock):
                continue
            try:
                yield
            finally:
                lock.unlink()
            return


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn errors of the operating system into one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFound("does not exist", where=uri, remedy="check the path") from error
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            raise ObjectNotFound(
                "does not exist: a part of its path is a file", where=uri, remedy="check the path"
            ) from error
        reason = error.strerror or type(error).__name__
        if error.errno == errno.EISDIR:
            raise StorageError(
                "is a directory, not a file", where=uri, remedy="remove it, or name another place"
            ) from error
        if error.errno in _FULL:
            raise StorageError(
                f"cannot be written ({reason})", where=uri, remedy="make room there, or name another place"
            ) from error
        raise StorageError(
            f"cannot be used ({reason})", where=uri, remedy="check the path, its permissions and the disk"
        ) from error
