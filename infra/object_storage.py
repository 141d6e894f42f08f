"""Storage in local files and S3: a place is an absolute local path or ``s3://bucket/key``, as ``str``.

Both give the same guarantees. A write is atomic, even in a crash. Of several writers that create a name, or that
replace the same version of it, exactly one wins: by ``If-None-Match`` and ``If-Match`` in S3, by a hard link and a lock
on a local disk. A read sees the last write.

S3 is configured by the variables that every AWS tool reads: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
``AWS_SESSION_TOKEN``, ``AWS_REGION``, ``AWS_ENDPOINT_URL_S3`` (or ``AWS_ENDPOINT_URL``), and
``AWS_REQUEST_CHECKSUM_CALCULATION=when_required`` for stores that reject the checksums botocore sends. A server that
is slow, busy or down is waited for, for at least a minute; ``AWS_MAX_ATTEMPTS`` changes how long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from infra import local_files, s3_client
from infra.errors import DamagedFile, MissingExtra, ObjectNotFound, TooLarge
from infra.s3_client import impatient
from infra.uris import basename, is_s3, join, parent, resolve

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = [
    "arrow_filesystem",
    "basename",
    "check",
    "download",
    "exists",
    "impatient",
    "is_s3",
    "join",
    "list_files",
    "parent",
    "read_bytes",
    "read_own",
    "read_versioned",
    "remove",
    "resolve",
    "upload",
    "write_addressed",
    "write_bytes",
    "write_if_absent",
    "write_if_version",
]


class _Backend(Protocol):
    """Functions of the two backends."""

    def check(self, root: str) -> None: ...
    def exists(self, uri: str) -> bool: ...
    def read_bytes(self, uri: str, limit: int | None) -> bytes: ...
    def read_own(self, uri: str, limit: int) -> bytes: ...
    def read_versioned(self, uri: str, limit: int | None) -> tuple[bytes, str]: ...
    def write_bytes(self, uri: str, data: bytes) -> None: ...
    def write_if_absent(self, uri: str, data: bytes) -> bool: ...
    def write_if_version(self, uri: str, data: bytes, version: str) -> bool: ...
    def remove(self, uri: str) -> None: ...
    def list_files(self, root: str) -> list[str]: ...
    def upload(self, local_path: str, uri: str) -> None: ...
    def download(self, uri: str, local_path: str) -> None: ...


def _backend(uri: str) -> _Backend:
    if not is_s3(uri):
        return local_files
    # It imports boto3.
    from infra import s3_objects

    return s3_objects


def check(root: str) -> None:
    """Check, without waiting for a server, that files can be below ``root``, which need not exist.

    Raises:
        StoreUnreachable: the server does not answer.
        StorageError: the server refuses the credentials, the bucket is missing, or the local directory cannot be made
            or is not a directory.
    """
    _backend(root).check(root)


def exists(uri: str) -> bool:
    """Return whether a file or object exists; a directory or prefix is neither.

    Raises:
    StorageError: this cannot be determined, for example because the bucket is missing.
    """
    return _backend(uri).exists(uri)


def read_bytes(uri: str, *, limit: int | None = None) -> bytes:
    """Read a whole file.

    Args:
        uri: the file or object.
        limit: most bytes; a larger file is refused before it is read.

    Raises:
        ObjectNotFound: nothing is there.
        TooLarge: it is larger than ``limit``.
        StorageError: it cannot be read, or is neither a regular file nor a shell's pipe (``/dev/stdin``).
    """
    return _backend(uri).read_bytes(uri, limit)


def read_own(uri: str, *, limit: int) -> bytes:
    """Read a whole file that this product wrote, without following links or waiting for pipes and devices.

    Raises:
        ObjectNotFound: nothing is there.
        DamagedFile: it is a link, not a regular file, or larger than ``limit``.
        StorageError: it cannot be read, or is a directory.
    """
    try:
        return _backend(uri).read_own(uri, limit)
    except TooLarge as error:
        raise DamagedFile(error.message, where=error.where, remedy=error.remedy) from error


def read_versioned(uri: str, *, limit: int | None = None) -> tuple[bytes, str]:
    """Read a file and its version, for `write_if_version`: the ETag in S3, the content's SHA-256 on a local disk.

    Raises:
        ObjectNotFound: nothing is there.
        TooLarge: it is larger than ``limit`` bytes.
        DamagedFile: it is a link or not a regular file.
        StorageError: it cannot be read.
    """
    return _backend(uri).read_versioned(uri, limit)


def write_bytes(uri: str, data: bytes) -> None:
    """Write or replace a file, and make missing directories; a local file is synced to disk.

    Raises:
        StorageError: it cannot be written.
    """
    _backend(uri).write_bytes(uri, data)


def write_if_absent(uri: str, data: bytes) -> bool:
    """Write a file unless one exists; return whether it was written.

    If an answer of the server was lost, finding ``data`` stored counts as written; of two writers of the same bytes,
    both may then succeed.

    Raises:
        StorageError: it cannot be written.
    """
    return _backend(uri).write_if_absent(uri, data)


def write_addressed(uri: str, data: bytes) -> bool:
    """Write a file whose name is the digest of its content; a file with other content is replaced.

    Returns:
        Whether a file with other content was there.

    Raises:
        StorageError: it cannot be written, or a directory is there.
    """
    if write_if_absent(uri, data):
        return False
    try:
        if read_own(uri, limit=len(data)) == data:
            return False
    except (DamagedFile, ObjectNotFound):
        pass
    write_bytes(uri, data)
    return True


def write_if_version(uri: str, data: bytes, version: str | None) -> bool:
    """Replace a file if it still has the version from `read_versioned`; return whether it was written.

    Lost answers are treated as in `write_if_absent`.

    Args:
        uri: the file or object.
        data: new content.
        version: version from `read_versioned`, or ``None`` if there must be no file.

    Raises:
        StorageError: it cannot be written.
    """
    if version is None:
        return _backend(uri).write_if_absent(uri, data)
    return _backend(uri).write_if_version(uri, data, version)


def remove(uri: str) -> None:
    """Remove a file or link, if there is one.

    Raises:
        StorageError: it cannot be removed.
    """
    _backend(uri).remove(uri)


def list_files(root: str) -> list[str]:
    """Return the names of all files below ``root``, relative to it, with ``/``, sorted; empty without such a directory.

    Raises:
        StorageError: it cannot be listed, for example because the bucket is missing.
    """
    return sorted(_backend(root).list_files(root))


def upload(local_path: str, uri: str) -> None:
    """Copy a local file to ``uri`` in parts, without holding it in memory.

    Raises:
        ObjectNotFound: there is no such local file.
        StorageError: it cannot be read or written.
    """
    _backend(uri).upload(local_path, uri)


def download(uri: str, local_path: str) -> None:
    """Copy ``uri`` to a local file in parts; the file appears only when it is complete.

    Raises:
        ObjectNotFound: nothing is there.
        StorageError: it cannot be read or written.
    """
    _backend(uri).download(uri, local_path)


def arrow_filesystem(uri: str) -> tuple[FileSystem, str]:
    """Return a place as a file system and path for Arrow, which Ray Tune and Ray Data use.

    The file system holds no credentials: in a worker it finds those of that process.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        from pyarrow import fs
    except ImportError as error:
        raise MissingExtra("pyarrow", "train") from error
    if not is_s3(uri):
        return fs.LocalFileSystem(), uri
    return s3_client.arrow_filesystem(), resolve(uri, "/").removeprefix("s3://")
