"""Names of places: absolute local paths and ``s3://bucket/key``, as plain strings.

Nothing here accesses a disk or a network. Names are compared as text, so they are normalised first:
no ``.``, no ``..``, no doubled and no trailing slash.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from infra.errors import StorageError
from infra.printable import is_text, printable

__all__ = ["LONGEST_PATH", "basename", "is_s3", "join", "parent", "resolve", "split_s3"]

_LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Linux's limits in bytes, without the final NUL."""
# Includes schemes with a missing slash, which would otherwise be relative paths.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(?i:s3[an]?|gs|hdfs|https?|file):")


def is_s3(uri: str) -> bool:
    """Return whether ``uri`` is a place in S3."""
    return uri.startswith("s3://")


def resolve(path: str, base: str) -> str:
    """Return the absolute form of a path that is relative to the directory ``base``.

    Args:
        path: ``s3://`` URI, absolute path (``~`` is expanded), or path relative to ``base``, which may hold ``..``.
        base: absolute local directory or ``s3://`` prefix.

    Raises:
        StorageError: the scheme is not ``s3``; the path is empty, not UTF-8, too long, or holds a NUL; there is no home
            for ``~``; the bucket is missing; or ``..`` leads out of the bucket.
    """
    if not path or "\0" in path:
        raise StorageError(f"{path!r} is not a path", remedy="name a file or directory, local or s3://")
    for name in (path, base):
        if not is_text(name):
            raise StorageError(f"the path {printable(name)} is not UTF-8", remedy="rename it")
    if is_s3(path):
        return _s3(*split_s3(path), name=path)
    if _SCHEME.match(path):
        raise StorageError(f"{path!r} has an unknown scheme", remedy="use a local path or s3://bucket/key")
    if path == "~" or path.startswith("~/"):
        path = _home() + path[1:]
    if posixpath.isabs(path):
        return _short(_normal_local(path))
    if is_s3(base):
        bucket, key = split_s3(base)
        return _s3(bucket, f"{key}/{path}", name=path)
    if not posixpath.isabs(base):
        raise StorageError(f"{base!r} is not absolute", remedy="resolve it against the working directory first")
    return _short(_normal_local(f"{base}/{path}"))


def join(root: str, *parts: str) -> str:
    """Join path parts below ``root``; safe for parts that come from data.

    Raises:
        StorageError: a part is empty or absolute, holds a NUL, or ``..`` would lead out of ``root``.
    """
    below = "/".join(parts)
    normal = posixpath.normpath(below) if below else ""
    escapes = normal in ("", ".", "..") or normal.startswith("../")
    if escapes or "\0" in below or any(not part or part.startswith("/") for part in parts):
        raise StorageError(f"{below!r} does not stay inside {root}", remedy="name a file below it, without '..'")
    return f"{root.rstrip('/')}/{normal}"


def parent(uri: str) -> str:
    """Return the directory or prefix that holds ``uri``; the top of a bucket or file system is its own parent."""
    if is_s3(uri):
        bucket, key = split_s3(uri)
        return _s3(bucket, posixpath.dirname(key), name=uri)
    return posixpath.dirname(_normal_local(uri))


def basename(uri: str) -> str:
    """Return the last part of ``uri``; empty for a bucket or ``/``."""
    return posixpath.basename(split_s3(uri)[1] if is_s3(uri) else _normal_local(uri))


def split_s3(uri: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` URI; the key has no slash at either end and is empty for a bucket.

    Raises:
        StorageError: the URI has no bucket, or holds credentials.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise StorageError(f"{uri!r} names no bucket", remedy="write s3://bucket/key")
    if "@" in bucket:
        # Not quoted, since it would show a password.
        raise StorageError(
            "an s3:// URI holds credentials", remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    return bucket, key.strip("/")


def _home() -> str:
    try:
        home = str(Path.home())
    except RuntimeError:
        home = ""
    if not posixpath.isabs(home) or os.environ.get("HOME") == "":
        raise StorageError(
            "'~' stands for no directory here", remedy="set HOME to an absolute path, or write the path itself"
        )
    return home


def _normal_local(path: str) -> str:
    # POSIX keeps exactly two leading slashes; here they mean the same as one.
    return "/" + posixpath.normpath(path).lstrip("/")


def _short(path: str) -> str:
    longest = max(path.split("/"), key=lambda name: len(name.encode()))
    for text, most in ((longest, _LONGEST_NAME), (path, LONGEST_PATH)):
        if len(text.encode()) > most:
            message = f"{text[:40]!r}... has {len(text.encode())} bytes, more than a file system allows"
            raise StorageError(message, remedy=f"shorten it to {most}")
    return path


def _s3(bucket: str, key: str, *, name: str) -> str:
    key = posixpath.normpath(key.strip("/")) if key.strip("/") else ""
    if key == ".." or key.startswith("../"):
        raise StorageError(f"{name!r} leads out of bucket {bucket!r}", remedy="use fewer '..'")
    return f"s3://{bucket}/{key}" if key not in ("", ".") else f"s3://{bucket}"
