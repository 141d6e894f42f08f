"""One run on disk: what is to be sent, and how far the sending came.

    <spool>/<store>/<run>/
        live.lock        shared by all who write the run; exclusive for whoever sends an orphan or removes it
        sending.lock     held by the one sender of the moment
        run.json         the header
        events.jsonl     appended, never rewritten
        sent.json        bytes of events.jsonl that the store has confirmed, and the run's id there
        files/           contents of artifacts that are not sent yet
        refused.jsonl    what the store refused for good, with the reason

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
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.errors import TrackingError
from infra.tracking.event import Event, Header

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Sent:
    """How far the sending came.

    Attributes:
        offset: bytes of the journal that the store has confirmed.
        run_id: the run in the store, once known.
        linked: whether the run hangs below its parent, or has none.
        sender: who wrote this; another sender's memory of the run is then out of date.
    """

    offset: int = 0
    run_id: str | None = None
    linked: bool = False
    sender: str = ""


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
                self._write("run.json", json.dumps(asdict(header), ensure_ascii=False))
            self.header = Header(**json.loads((directory / "run.json").read_text(encoding="utf-8")))
            self._append = os.open(self._events, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._end_torn_line()
        except (BlockingIOError, FileNotFoundError):
            self.close()
            raise
        except OSError as error:
            self.close()
            raise self._unusable(error) from error
        except (ValueError, TypeError) as error:
            self.close()
            raise TrackingError(
                f"{directory / 'run.json'}: not the header of a run ({error}); remove the folder to give up its events"
            ) from error

    @staticmethod
    def place(root: Path, experiment: str, key: str) -> Path:
        """Where the journal of a run lies below the store's spool."""
        return root / hashlib.sha256(f"{experiment}\0{key}".encode()).hexdigest()[:24]

    def append(self, event: Event) -> None:
        """Add an event at the end.

        Raises:
            TrackingError: the journal is closed, or the disk does not take it.
        """
        if self._append < 0:
            raise TrackingError(f"{self.header.name}: tracking is closed; nothing can be logged any more")
        line = event.line()
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
        file = self.directory / "files" / uuid.uuid4().hex
        try:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            self.append(Event("artifact", path=path, file=file.name))
        except OSError as error:
            file.unlink(missing_ok=True)
            raise self._unusable(error) from error
        except TrackingError:
            file.unlink()
            raise

    def content(self, event: Event) -> Path:
        """Where the content of an artifact lies."""
        return self.directory / "files" / Path(event.file).name

    @contextmanager
    def sending(self) -> Iterator[bool]:
        """Become the run's only sender; false if another one is at it."""
        descriptor = os.open(self.directory / "sending.lock", os.O_RDWR | os.O_CREAT, 0o600)
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
        try:
            return Sent(**json.loads((self.directory / "sent.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            # Absent, or emptied by a crash of the machine: sending all of it again changes nothing in the store.
            return Sent()

    def save(self, sent: Sent) -> None:
        """Remember how far the sending came; only under ``sending``."""
        self._write("sent.json", json.dumps(asdict(sent)))

    def read(self, offset: int) -> list[tuple[Event | bytes, int]]:
        """The next whole events, each with the offset after it; a line that is none comes back as it is."""
        events: list[tuple[Event | bytes, int]] = []
        with self._events.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n") or (events and offset - events[0][1] > READ_BYTES):
                    break
                offset += len(line)
                try:
                    events.append((Event.parse(line), offset))
                except ValueError:
                    events.append((line, offset))
        return events

    def size(self) -> int:
        """Bytes in the journal."""
        return self._events.stat().st_size

    def unsent(self) -> int:
        """Events the store has not confirmed."""
        with self._events.open("rb") as file:
            file.seek(self.sent().offset)
            return sum(1 for line in file if line.endswith(b"\n"))

    def refuse(self, line: bytes, reason: str) -> None:
        """Set aside what the store will never take."""
        entry = json.dumps({"reason": reason, "event": line.decode(errors="replace")}, ensure_ascii=False)
        with (self.directory / "refused.jsonl").open("a", encoding="utf-8") as file:
            file.write(entry + "\n")

    def refused(self) -> int:
        """How many events were set aside."""
        with suppress(FileNotFoundError), (self.directory / "refused.jsonl").open("rb") as file:
            return sum(1 for _ in file)
        return 0

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
        return self.directory / "events.jsonl"

    def _join(self, *, orphan: bool, create: bool) -> int:
        """Lock the directory as one of its writers; again if it was removed while we waited."""
        while True:
            if create:
                self.directory.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(self.directory / "live.lock", os.O_RDWR | os.O_CREAT, 0o600)
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

    def _write(self, name: str, text: str) -> None:
        temporary = self.directory / f".{name}.{uuid.uuid4().hex}"
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.directory / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> TrackingError:
        reason = error.strerror or str(error)
        return TrackingError(f"{self.directory}: the tracking spool cannot be written ({reason}); make room there")
