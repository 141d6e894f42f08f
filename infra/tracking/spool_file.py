"""Files of the spool: this user's own, and their lines tell whether they are as they were written, and where.

A line is a digest, a space and a JSON document. The digest is keyed with the name of the run's directory, so that a
line which was altered, torn or brought from another run is known.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import uuid
from pathlib import Path

SHORT = 1 << 20
"""Bytes of the longest document that has a file to itself."""
_SEALED = re.compile(rb"([0-9a-f]{16}) (.+)\n", re.DOTALL)


def open_own(path: Path, flags: int) -> int:
    """Open a plain file, made with mode 0600 if ``flags`` say so.

    Raises:
        OSError: also if it is a link, no plain file, or another user's.
    """
    # Of a FIFO one waits for the other end.
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file of this user", str(path))
    return descriptor


def seal(document: bytes, place: str) -> bytes:
    """A document of one line, as a line that belongs to ``place``."""
    return _digest(document, place) + b" " + document + b"\n"


def unseal(line: bytes, place: str) -> bytes:
    """The document of a line.

    Raises:
        ValueError: it is not one that was written to ``place``, or not any more.
    """
    found = _SEALED.fullmatch(line)
    if found is None or _digest(found[2], place) != found[1]:
        raise ValueError("it is torn, altered, or from elsewhere")
    return found[2]


def read_sealed(path: Path) -> bytes:
    """The document in a file that holds one, and belongs to the directory it is in.

    Raises:
        ValueError: as for ``unseal``.
        OSError: as for ``open_own``.
    """
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return unseal(file.read(SHORT), path.parent.name)


def write_sealed(path: Path, document: bytes) -> None:
    """Replace such a file, in one step."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(open_own(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(seal(document, path.parent.name))
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _digest(document: bytes, place: str) -> bytes:
    return hashlib.blake2b(document, digest_size=8, key=place.encode()).hexdigest().encode()
