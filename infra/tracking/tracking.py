"""The way into a tracker."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infra.private_directory import private_directory
from infra.redaction import without_user_info
from infra.tracking.event import Header
from infra.tracking.run_log import POLL_SECONDS, RunLog
from infra.tracking.sender import Sender
from infra.tracking.trackers import tracker_of


@dataclass(frozen=True)
class Unsent:
    """What the tracker does not have at the end.

    Attributes:
        events: points, parameters, tags, artifacts and status changes that are still to be sent.
        refused: those that it never takes; ``refused.jsonl`` beside their journal says why.
        directory: where both lie; the next ``Tracking`` on the same spool sends the former.
        reason: why it could not be used, without credentials; none if it could.
        tracker: what it is called.
    """

    events: int
    refused: int
    directory: Path
    reason: str | None
    tracker: str = "MLflow"

    def __str__(self) -> str:
        if not self.events and not self.refused:
            return f"{self.tracker} has everything"
        parts = [f"{self.events} events are not sent to {self.tracker} yet"] if self.events else []
        parts += [f"{self.refused} are set aside, since {self.tracker} never takes them"] if self.refused else []
        because = f" ({self.reason})" if self.reason else ""
        return f"{' and '.join(parts)}{because}; they lie in {self.directory}"


class Tracking:
    """Runs in one store, written through a spool on this machine's disk.

    Nothing that happens to the store is raised here: what it cannot take now is sent later, in the order of
    each run and once, by this object, or after its end by another one on the same spool. Processes on one
    machine share a spool. A run is made by whoever comes first; two machines must not make it at once.

    Args:
        uri: address of a store, whose scheme says of which tracker: for MLflow ``http(s)://`` or a database such as
            ``sqlite:////absolute/mlflow.db``.
        spool: local directory, made when absent.
        interval: seconds between two batches.

    Raises:
        MissingExtra: the tracker's package is not installed.
        StorageError: the spool cannot be made, or other users can write it.
    """

    def __init__(self, uri: str, spool: Path, *, interval: float = 2.0) -> None:
        tracker = tracker_of(uri)
        tracker.prepare()
        store = hashlib.sha256(without_user_info(uri).encode()).hexdigest()[:12]
        # What lies there is sent, with the files it names: only this user may put it there.
        self._root = private_directory(Path(spool).absolute() / store)
        self._tracker = tracker.tracker
        self._sender = Sender(tracker, uri, self._root, interval=interval)
        self._sender.start()

    def run(
        self,
        experiment: str,
        name: str,
        *,
        key: str,
        parent_key: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> RunLog:
        """Open a run: the one with this key if there is one, else a new one.

        Args:
            experiment: MLflow experiment, made when absent.
            name: what the UI calls the run.
            key: identifies the run within the experiment across processes and submissions.
            parent_key: key of the run this one belongs below, which may be made later and elsewhere.
            params: as ``RunLog.params``.
            tags: as ``RunLog.tags``.

        Raises:
            TrackingError: the spool cannot be written.
        """
        log = RunLog(self._sender.open(Header(experiment, name, key, parent_key)), wake=self._sender.wake)
        log.params(params or {})
        log.tags(tags or {})
        self._sender.wake()
        return log

    def let_go(self, log: RunLog | None = None) -> None:
        """Have done with a run, or with all: what they keep open is closed once the store has all of it.

        They may be opened again; what was returned for them before is of no more use.
        """
        self._sender.let_go(None if log is None else log.place)

    def flush(self, timeout: float = 30.0) -> Unsent:
        """Wait until the store has all events of this object's runs, for at most ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        self._sender.wake()
        while (unsent := self.unsent()).events and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return unsent

    def close(self, timeout: float = 15.0) -> Unsent:
        """Send what is left, for at most ``timeout`` seconds, and let go of the spool; may be repeated.

        Returns:
            What the store does not have of the whole spool, whoever wrote it.
        """
        return self._unsent(*self._sender.finish(timeout))

    def unsent(self) -> Unsent:
        """What the store does not have of this object's runs."""
        return self._unsent(*self._sender.waiting())

    def _unsent(self, events: int, refused: int) -> Unsent:
        return Unsent(events, refused, self._root, self._sender.reason, self._tracker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
