"""One run on disk: what is to be sent, and how far the sending came.

    <spool>/<store>/<run>/
        live.lock        shared by all who write the run; exclusive for whoever sends an orphan or removes it
        sending.lock     held by the one sender of the moment
        header           which run it is
        events           a line for each, appended, never rewritten
        sent             how much of them the store has confirmed, and the run's id there
        files/           contents of artifacts that are not sent yet
        refused.jsonl    what the store will never take, with the reason

Appends are single writes to a file opened with O_APPEND, so several processes may write one run. They survive
the death of the process, not that of the machine: no fsync, because tuning must not wait for a disk.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from infra.errors import TrackingError
from infra.tracking.event import Artifact, Event, Header, document, parse
from infra.tracking.progress import EVENTS, REFUSED, Sent, count_refused, count_unsent, read_sent, write_sent
from infra.tracking.spool_file import open_own, read_sealed, seal, unseal, write_sealed

HEADER = "header"
READ_BYTES = 1 << 20
LINE_BYTES = 16 << 20
QUOTED_BYTES = 2000
"""Of what is set aside, and of the reason."""


class SpoolError(TrackingError):
    """The disk does not take what is to wait for the store."""


class Entry(NamedTuple):
    """A line of a journal.

    Attributes:
        event: what it says; the line itself, or its beginning, where it says nothing.
        start, end: its place, in bytes.
    """

    event: Event | bytes
    start: int
    end: int


class Journal:
    """A run's directory, held open by this process.

    Args:
        directory: as ``place`` names it.
        header: written if the directory is new; read from it otherwise.
        orphan: open only if no other process writes the run.

    Raises:
        TrackingError: the spool cannot be written, or its header cannot be read.
        BlockingIOError: ``orphan`` was asked for and another process writes the run.
        FileNotFoundError: no header was given and there is none on disk.
    """

    def __init__(self, directory: Path, header: Header | None = None, *, orphan: bool = False) -> None:
        self.directory = directory
        self._live = -1
        self._append = -1
        try:
            self._live = self._join(orphan=orphan, create=header is not None)
            if header is not None:
                write_sealed(directory / HEADER, header.document())
            self.header = Header.parse(read_sealed(directory / HEADER))
            self._append = open_own(self._events, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._end_torn_line()
        except (BlockingIOError, FileNotFoundError):
            self.close()
            raise
        except OSError as error:
            self.close()
            raise self._unusable(error) from error
        except ValueError as error:
            self.close()
            raise TrackingError(
                f"{directory / HEADER}: not the header of a run (it is torn, altered, or from elsewhere); remove the "
                "folder to give up its events"
            ) from error

    @staticmethod
    def place(root: Path, experiment: str, key: str) -> Path:
        """Where the journal of a run lies below the store's spool."""
        return root / hashlib.sha256(f"{experiment}\0{key}".encode()).hexdigest()[:24]

    def append(self, event: Event) -> None:
        """Add an event at the end.

        Raises:
            TrackingError: the journal is closed, the event is larger than 16 MiB, or the disk does not take it.
        """
        if self._append < 0:
            raise TrackingError(f"{self.header.name}: tracking is closed; nothing can be logged any more")
        line = seal(document(event), self.directory.name)
        if len(line) > LINE_BYTES:
            raise TrackingError(f"{self.header.name}: {len(line):,} bytes are too many for one event; log less at once")
        try:
            written = os.write(self._append, line)
            if written != len(line):
                # Nothing half-written stays; on a full disk no other process has appended since.
                os.ftruncate(self._append, os.lseek(self._append, 0, os.SEEK_CUR) - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._unusable(error) from error

    def append_artifact(self, path: str, content: bytes) -> None:
        """Add an artifact: its content beside the journal, then the event that names it."""
        file = self._files / uuid.uuid4().hex
        try:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            with os.fdopen(open_own(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as made:
                made.write(content)
            self.append(Artifact(path, file.name, hashlib.sha256(content).hexdigest()))
        except OSError as error:
            file.unlink(missing_ok=True)
            raise self._unusable(error) from error
        except TrackingError:
            file.unlink()
            raise

    def take_content(self, event: Artifact, target: Path) -> None:
        """Copy the content of an artifact.

        Raises:
            FileNotFoundError: it was removed, as what was sent is.
            ValueError: it is not what was written there.
        """
        # The file's name is nobody's but ours: no link at either step leads out.
        if self._files.is_symlink():
            raise ValueError("its place is a link")
        try:
            descriptor = open_own(self._files / event.file, os.O_RDONLY)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ValueError("its content is no plain file") from error
        with os.fdopen(descriptor, "rb") as content, target.open("xb") as copy:
            digest = hashlib.sha256()
            while block := content.read(READ_BYTES):
                digest.update(block)
                copy.write(block)
        if digest.hexdigest() != event.digest:
            raise ValueError("its content was altered")

    def remove_content(self, event: Artifact) -> None:
        """Give up the content of an artifact."""
        (self._files / event.file).unlink(missing_ok=True)

    @contextmanager
    def sending(self) -> Iterator[bool]:
        """Become the run's only sender; false if another one is at it."""
        descriptor = open_own(self.directory / "sending.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        try:
            yield True
        finally:
            os.close(descriptor)

    def sent(self) -> Sent:
        """How far the sending came."""
        return read_sent(self.directory)

    def save(self, sent: Sent) -> None:
        """Remember how far the sending came; only under ``sending``."""
        try:
            write_sent(self.directory, sent)
        except OSError as error:
            raise self._unusable(error) from error

    def read(self, offset: int) -> list[Entry]:
        """The whole lines from a place on, about a megabyte of them."""
        entries: list[Entry] = []
        with os.fdopen(open_own(self._events, os.O_RDONLY), "rb") as file:
            file.seek(offset)
            while not entries or entries[-1].end - offset < READ_BYTES:
                line, end = _next_line(file)
                if not line:
                    break
                entries.append(Entry(self._parse(line), entries[-1].end if entries else offset, end))
        return entries

    def size(self) -> int:
        """Bytes in the journal."""
        return self._events.stat().st_size

    def unsent(self) -> int:
        """Events the store has not confirmed."""
        return count_unsent(self.directory)

    def refuse(self, said: bytes, reason: str) -> None:
        """Set aside what the store will never take."""
        event = said[:QUOTED_BYTES].decode(errors="replace")
        entry = json.dumps({"reason": reason[:QUOTED_BYTES], "event": event}) + "\n"
        with os.fdopen(open_own(self.directory / REFUSED, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as file:
            file.write(entry.encode())

    def refused(self) -> int:
        """How many events were set aside."""
        return count_refused(self.directory)

    def close(self, *, remove_if_done: bool = False) -> None:
        """Let go of the run. With ``remove_if_done`` its directory goes too, if nobody needs it any more."""
        if remove_if_done and self._live >= 0:
            with suppress(BlockingIOError):
                fcntl.flock(self._live, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self.sent().linked and not self.unsent() and not self.refused():
                    shutil.rmtree(self.directory)
        for descriptor in (self._append, self._live):
            if descriptor >= 0:
                os.close(descriptor)
        self._append = self._live = -1

    @property
    def _events(self) -> Path:
        return self.directory / EVENTS

    @property
    def _files(self) -> Path:
        return self.directory / "files"

    def _parse(self, line: bytes) -> Event | bytes:
        try:
            return parse(unseal(line, self.directory.name))
        except ValueError:
            return line[:QUOTED_BYTES]

    def _join(self, *, orphan: bool, create: bool) -> int:
        """Lock the directory as one of its writers; again if it was removed while we waited."""
        while True:
            if create:
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.directory.is_symlink():
                raise OSError(errno.ELOOP, "a link", str(self.directory))
            try:
                descriptor = open_own(self.directory / "live.lock", os.O_RDWR | os.O_CREAT)
            except FileNotFoundError:
                if create:
                    continue
                raise
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if orphan else fcntl.LOCK_SH)
            except BlockingIOError:
                os.close(descriptor)
                raise
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)

    def _end_torn_line(self) -> None:
        # A machine that died in the middle of a write leaves half a line; no event may be glued to it.
        size = os.fstat(self._append).st_size
        if size and os.pread(self._append, 1, size - 1) != b"\n":
            os.write(self._append, b"\n")

    def _unusable(self, error: OSError) -> SpoolError:
        reason = error.strerror or str(error)
        return SpoolError(f"{self.directory}: the tracking spool cannot be written ({reason}); make room there")


def _next_line(file: BinaryIO) -> tuple[bytes, int]:
    """The next line that has its end, and where that is; only the beginning of one that is too long; else nothing."""
    line = part = file.readline(LINE_BYTES)
    while part and not part.endswith(b"\n"):
        part = file.readline(LINE_BYTES)
    return (line, file.tell()) if part else (b"", 0)
