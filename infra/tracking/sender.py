"""The one thread that talks to the store."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from infra.errors import TrackingError
from infra.redaction import redacted
from infra.tracking.event import Artifact, Header, Logged, Status, document
from infra.tracking.journal import Entry, Journal
from infra.tracking.outage import Outage
from infra.tracking.progress import waiting
from infra.tracking.store import Remote, Store

logger = logging.getLogger("speechprompt.tracking")

LONGEST_WAIT = 30.0
ORPHANS_EVERY = 15.0
CLOSING_WAIT = 0.5

Attempt = Literal["nothing", "sent", "late", "failed"]
"""What became of a journal: nothing was to be sent, all was, all but artifacts, or the store did not take it."""


class Sender(threading.Thread):
    """Sends what journals hold, in the order of each, until told to stop.

    Whatever the store answers is tried again later, but for what a store that is well refuses as such. An artifact that
    it does not take holds up no other event.

    Args:
        tracker: class of the store.
        uri: its address.
        root: directory of the store's journals.
        interval: seconds to gather events between two passes.
    """

    def __init__(self, tracker: type[Store], uri: str, root: Path, *, interval: float) -> None:
        super().__init__(name="speechprompt-tracking", daemon=True)
        self._root = root
        self._interval = interval
        self._store: Store = tracker(uri, root)
        self._outage = Outage(tracker, uri, root)
        self._id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._open: dict[Path, Journal] = {}
        self._journals: list[Journal] = []
        self._remotes: dict[Path, Remote] = {}
        self._again: set[Path] = set()
        self._told: set[Path] = set()
        self._artifacts_at = 0.0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._abandon = threading.Event()

    @property
    def reason(self) -> str | None:
        """Why the store did not take something; none while it takes all."""
        return self._outage.reason

    def open(self, header: Header) -> Journal:
        """The journal of a run, whose events are sent from now on.

        Raises:
            TrackingError: the spool cannot be written.
        """
        place = Journal.place(self._root, header.experiment, header.key)
        with self._lock:
            if place not in self._open:
                self._open[place] = Journal(place, header)
                self._journals.append(self._open[place])
            return self._open[place]

    def let_go(self, place: Path | None = None) -> None:
        """Close the journal there, or all, once what they hold is sent."""
        with self._lock:
            if place is None:
                self._open.clear()
            else:
                self._open.pop(place, None)
        self._wake.set()

    def waiting(self) -> tuple[int, int]:
        """Events of the journals that are not closed: not sent yet, and refused."""
        with self._lock:
            return (
                sum(journal.unsent() for journal in self._journals),
                sum(journal.refused() for journal in self._journals),
            )

    def wake(self) -> None:
        """Send now."""
        self._wake.set()

    def finish(self, timeout: float) -> tuple[int, int]:
        """Send what is left, for at most ``timeout`` seconds, close all journals, and end.

        Returns:
            Events of the whole spool, whoever wrote them: not sent, and refused.
        """
        self._closing.set()
        self._wake.set()
        self.join(timeout)
        self._abandon.set()
        found = waiting(self._root)
        with self._lock:
            for journal in self._journals:
                journal.close(remove_if_done=not self.is_alive())
            self._journals.clear()
            self._open.clear()
        return found

    def run(self) -> None:
        """The thread."""
        wait, next_orphans = 0.0, 0.0
        while not self._abandon.is_set():
            closing = self._closing.is_set()
            if not closing:
                self._wake.wait(wait)
                self._wake.clear()
            progress, done = self._pass()
            self._close_sent()
            if closing or time.monotonic() >= next_orphans:
                done = self._send_orphans() and done
                next_orphans = time.monotonic() + ORPHANS_EVERY
            if closing and done:
                return
            if closing:
                self._abandon.wait(CLOSING_WAIT)
            elif done or progress:
                wait = self._interval
            else:
                wait = min(max(2 * wait, self._interval), LONGEST_WAIT)

    def _pass(self) -> tuple[bool, bool]:
        """Send every journal's events; whether any came through, and whether all did."""
        with self._lock:
            journals = sorted(self._journals, key=lambda journal: journal.header.parent_key is not None)
        attempts: set[Attempt] = set()
        for journal in journals:
            attempt: Attempt = "failed" if self._abandon.is_set() else self._attempt(journal)
            attempts.add(attempt)
            if attempt == "failed":
                # To the end of the line, so that one run the store fails on does not hold up the others.
                with self._lock:
                    if journal in self._journals:
                        self._journals.remove(journal)
                        self._journals.append(journal)
                break
        return "sent" in attempts, attempts <= {"nothing", "sent"}

    def _close_sent(self) -> None:
        with self._lock:
            for journal in list(self._journals):
                if self._open.get(journal.directory) is journal:
                    continue
                # Of a spool that cannot be read the next pass speaks.
                with suppress(OSError):
                    if not journal.unsent():
                        self._journals.remove(journal)
                        self._remotes.pop(journal.directory, None)
                        journal.close(remove_if_done=True)

    def _send_orphans(self) -> bool:
        """Send what processes that are gone left behind; whether all of it was sent."""
        done = True
        with self._lock:
            own = {journal.directory for journal in self._journals}
        for directory in sorted({path.parent for path in self._root.glob("*/header")} - own):
            try:
                journal = Journal(directory, orphan=True)
            except (BlockingIOError, FileNotFoundError):
                # Somebody else sends it, or has.
                self._outage.spares(directory)
                continue
            except TrackingError as error:
                self._tell_once(directory, "%s", error)
                continue
            try:
                attempt = self._attempt(journal)
            finally:
                self._remotes.pop(directory, None)
                journal.close(remove_if_done=True)
            done = done and attempt != "late"
            if attempt == "failed":
                return False
        return done

    def _attempt(self, journal: Journal) -> Attempt:
        """Send one journal's events."""
        try:
            with journal.sending() as mine:
                attempt = self._send(journal) if mine else "nothing"
        # The boundary between tuning and a server: whatever fails there is reported once and tried again.
        except Exception as error:  # noqa: BLE001
            self._remotes.pop(journal.directory, None)
            if self._store.lost_data(error):
                self._again.add(journal.directory)
            self._outage.meets(journal.directory, error)
            return "failed"
        if attempt != "late":
            self._outage.spares(journal.directory)
        return attempt

    def _send(self, journal: Journal) -> Attempt:
        sent = journal.sent()
        again = journal.directory in self._again
        if sent.linked and sent.offset >= journal.size() and not again and not (sent.late and self._artifacts_due()):
            return "late" if sent.late else "nothing"
        if sent.sender != self._id:
            self._remotes.pop(journal.directory, None)
        remote = self._remotes.get(journal.directory)
        if remote is None:
            remote = self._store.attach(journal.header, sent.run_id)
            self._remotes[journal.directory] = remote
            if again or (remote.fresh and sent.run_id is not None):
                # The database may have been mended by an older copy: what it has of all this it does not take twice.
                sent = replace(sent, offset=0, late=(), linked=False)
        if not sent.linked:
            sent = replace(sent, linked=self._store.link(remote))
        sent = replace(sent, run_id=remote.run_id, sender=self._id)
        journal.save(sent)
        while entries := journal.read(sent.offset):
            while entries:
                if self._abandon.is_set():
                    raise TrackingError("closed before everything was sent")
                taken, late = self._send_some(journal, remote, entries, sent.late)
                sent = replace(sent, offset=entries[taken - 1].end, late=sent.late + late)
                journal.save(sent)
                entries = entries[taken:]
        self._again.discard(journal.directory)
        for start in sent.late if self._artifacts_due() else ():
            event = journal.read(start)[0].event
            if not isinstance(event, Artifact) or self._send_artifact(journal, remote, event):
                sent = replace(sent, late=tuple(other for other in sent.late if other != start))
                journal.save(sent)
        return "late" if sent.late else "sent"

    def _send_some(
        self, journal: Journal, remote: Remote, entries: list[Entry], late: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]]:
        """Send one call's worth of events; how many, and where the artifact begins that is put off."""
        first = entries[0]
        if isinstance(first.event, bytes):
            self._refuse(journal, first.event, "not an event; it is torn, altered, or from elsewhere")
        elif isinstance(first.event, Artifact):
            # After one that is put off others are too: two may have one name, and the later one is to stay.
            if late or not self._artifacts_due() or not self._send_artifact(journal, remote, first.event):
                return 1, (first.start,)
        elif isinstance(first.event, Status):
            self._store.terminate(remote, first.event)
        else:
            batch: list[Logged] = []
            for entry in entries:
                if not isinstance(entry.event, Logged):
                    break
                batch.append(entry.event)
            for said, reason in self._store.log(remote, batch):
                self._refuse(journal, said.encode(), reason)
            return len(batch), ()
        return 1, ()

    def _artifacts_due(self) -> bool:
        return self._closing.is_set() or time.monotonic() >= self._artifacts_at

    def _send_artifact(self, journal: Journal, remote: Remote, event: Artifact) -> bool:
        """Whether an artifact is sent, or never will be; if not, no other is tried for a while."""
        # MLflow names an artifact after the local file.
        with tempfile.TemporaryDirectory(prefix="speechprompt-") as directory:
            local = Path(directory) / event.path.rpartition("/")[2]
            try:
                journal.take_content(event, local)
            except FileNotFoundError:
                # Sent before, by a sender that died between removing the content and saying so.
                return True
            except ValueError as error:
                self._refuse(journal, document(event), str(error))
                return True
            try:
                self._store.log_artifact(remote, local, event.path)
            # Any error of any artifact store, which need not be where the runs are.
            except Exception as error:  # noqa: BLE001
                self._store.confirm(remote)
                self._artifacts_at = time.monotonic() + LONGEST_WAIT
                self._outage.meets(journal.directory, error)
                return False
        journal.remove_content(event)
        return True

    def _refuse(self, journal: Journal, said: bytes, reason: str) -> None:
        journal.refuse(said, redacted(reason))
        self._tell_once(
            journal.directory,
            "%s never takes part of run %s (%s); it is set aside in %s",
            self._store.tracker,
            journal.header.name,
            self._store.reason(Exception(reason)),
            journal.directory / "refused.jsonl",
        )

    def _tell_once(self, directory: Path, message: str, *values: Any) -> None:
        if directory not in self._told:
            self._told.add(directory)
            logger.warning(message, *values)
