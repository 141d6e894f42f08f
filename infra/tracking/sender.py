"""The one thread that talks to the store."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.errors import TrackingError
from infra.redaction import redacted
from infra.tracking.event import Event
from infra.tracking.journal import Journal
from infra.tracking.store import Remote, Store

logger = logging.getLogger("speechprompt.tracking")

LONGEST_WAIT = 30.0
ORPHANS_EVERY = 15.0
CLOSING_WAIT = 0.5
ARTIFACT_ATTEMPTS = 5
"""How often a store that answers may fail to take an artifact before the run goes on without it."""


class Sender(threading.Thread):
    """Sends what journals hold, in the order of each, until told to stop.

    Args:
        uri: MLflow tracking URI.
        root: directory of the store's journals.
        interval: seconds to gather events between two passes.
    """

    def __init__(self, uri: str, root: Path, *, interval: float) -> None:
        super().__init__(name="speechprompt-tracking", daemon=True)
        self.reason: str | None = None
        """Why the store could not be reached last time; none while it can."""
        self._uri = uri
        self._root = root
        self._interval = interval
        self._store = Store(uri, root)
        self._id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._journals: list[Journal] = []
        self._leaving: list[Journal] = []
        self._remotes: dict[Path, Remote] = {}
        self._attempts: dict[str, int] = {}
        self._damaged: set[Path] = set()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._abandon = threading.Event()

    def add(self, journal: Journal) -> None:
        """Send what this journal holds, now and later."""
        with self._lock:
            self._journals.append(journal)
        self._wake.set()

    def let_go(self, journals: Iterable[Journal]) -> None:
        """Close these once all that they hold is sent."""
        with self._lock:
            self._leaving += journals
        self._wake.set()

    def leaving(self) -> tuple[int, int]:
        """Events of those that are to be closed: not sent yet, and refused."""
        with self._lock:
            return (
                sum(journal.unsent() for journal in self._leaving),
                sum(journal.refused() for journal in self._leaving),
            )

    def wake(self) -> None:
        """Send now."""
        self._wake.set()

    def finish(self, timeout: float) -> list[Journal]:
        """Send what is left, for at most ``timeout`` seconds, and end; returns what was to be closed and is not."""
        self._closing.set()
        self._wake.set()
        self.join(timeout)
        self._abandon.set()
        with self._lock:
            leaving, self._leaving = self._leaving, []
        return leaving

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
        progress = False
        for journal in journals:
            talked = None if self._abandon.is_set() else self._attempt(journal)
            if talked is None:
                # To the end of the line, so that one run the store fails on does not hold up the others.
                with self._lock:
                    self._journals.remove(journal)
                    self._journals.append(journal)
                return progress, False
            progress = progress or talked
        return progress, True

    def _close_sent(self) -> None:
        with self._lock:
            for journal in list(self._leaving):
                # Of a spool that cannot be read the next pass speaks.
                with suppress(OSError):
                    if not journal.unsent():
                        self._leaving.remove(journal)
                        self._journals.remove(journal)
                        self._remotes.pop(journal.directory, None)
                        journal.close(remove_if_done=True)

    def _send_orphans(self) -> bool:
        """Send what processes that are gone left behind; whether all of it was sent."""
        done = True
        for directory in sorted(path.parent for path in self._root.glob("*/run.json")):
            try:
                journal = Journal(directory, orphan=True)
            except (BlockingIOError, FileNotFoundError):
                continue
            except TrackingError as error:
                if directory not in self._damaged:
                    logger.warning("%s", error)
                self._damaged.add(directory)
                continue
            try:
                done = self._attempt(journal) is not None
            finally:
                self._remotes.pop(directory, None)
                journal.close(remove_if_done=True)
            if not done:
                break
        return done

    def _attempt(self, journal: Journal) -> bool | None:
        """Send one journal's events; whether there were any, none if the store did not take them."""
        try:
            with journal.sending() as mine:
                talked = mine and self._send(journal)
        # The boundary between tuning and a server: whatever fails there is reported once and tried again.
        except Exception as error:  # noqa: BLE001
            self._remotes.pop(journal.directory, None)
            if self.reason is None:
                logger.warning(
                    "MLflow at %s cannot be used; runs are kept in %s until it can: %s",
                    redacted(self._uri),
                    self._root,
                    redacted(f"{type(error).__name__}: {error}"),
                )
            self.reason = redacted(f"{type(error).__name__}: {error}")
            return None
        if talked and self.reason is not None:
            logger.warning("MLflow at %s is back", redacted(self._uri))
            self.reason = None
        return talked

    def _send(self, journal: Journal) -> bool:
        sent = journal.sent()
        if sent.linked and sent.offset >= journal.size():
            return False
        if sent.sender != self._id:
            self._remotes.pop(journal.directory, None)
        remote = self._remotes.get(journal.directory)
        if remote is None:
            remote = self._store.attach(journal.header, sent.run_id)
            self._remotes[journal.directory] = remote
        if not sent.linked:
            sent = replace(sent, linked=self._store.link(remote, journal.header))
        sent = replace(sent, run_id=remote.run_id, sender=self._id)
        journal.save(sent)
        while entries := journal.read(sent.offset):
            while entries:
                if self._abandon.is_set():
                    raise TrackingError("closed before everything was sent")
                taken = self._send_some(journal, remote, [event for event, _ in entries])
                sent = replace(sent, offset=entries[taken - 1][1])
                journal.save(sent)
                entries = entries[taken:]
        return True

    def _send_some(self, journal: Journal, remote: Remote, events: list[Event | bytes]) -> int:
        """Send one call's worth of events; how many."""
        first = events[0]
        if isinstance(first, bytes):
            self._refuse(journal, first, "not an event; the machine may have died while it was written")
        elif first.kind == "artifact":
            self._send_artifact(journal, remote, first)
        elif first.kind == "status":
            self._store.terminate(remote, first)
        else:
            batch: list[Event] = []
            for event in events:
                if isinstance(event, bytes) or event.kind in ("artifact", "status"):
                    break
                batch.append(event)
            for entity, reason in self._store.log(remote, batch):
                self._refuse(journal, _describe(entity), reason)
            return len(batch)
        return 1

    def _send_artifact(self, journal: Journal, remote: Remote, event: Event) -> None:
        content = journal.content(event)
        if not content.exists():
            # Sent before, by a sender that died between removing the content and saying so.
            return
        try:
            self._store.log_artifact(remote, content, event.path)
        # Any error of any artifact store; it is raised again, or reported with what is set aside.
        except Exception as error:
            self._store.ping(remote)
            self._attempts[event.file] = self._attempts.get(event.file, 0) + 1
            if self._attempts[event.file] < ARTIFACT_ATTEMPTS:
                raise
            self._refuse(journal, event.line(), f"{type(error).__name__}: {error}")
            return
        content.unlink()

    def _refuse(self, journal: Journal, line: bytes, reason: str) -> None:
        journal.refuse(line, redacted(reason))
        logger.warning(
            "MLflow refuses part of run %s; it is kept in %s: %s",
            journal.header.name,
            journal.directory / "refused.jsonl",
            redacted(reason),
        )


def _describe(entity: Any) -> bytes:
    return repr(dict(entity)).encode()
