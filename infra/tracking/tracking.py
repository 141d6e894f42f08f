"""The way into MLflow."""

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
from infra.tracking.journal import Journal
from infra.tracking.mlflow_client import prepare_mlflow
from infra.tracking.progress import waiting
from infra.tracking.run_log import POLL_SECONDS, RunLog
from infra.tracking.sender import Sender


@dataclass(frozen=True)
class Unsent:
    """What MLflow does not have at the end.

    Attributes:
        events: points, parameters, tags, artifacts and status changes that are still to be sent.
        refused: those that MLflow never takes; ``refused.jsonl`` beside their journal says why.
        directory: where both lie; the next ``Tracking`` on the same spool sends the former.
        reason: why MLflow could not be used, without credentials; none if it could.
    """

    events: int
    refused: int
    directory: Path
    reason: str | None

    def __str__(self) -> str:
        if not self.events and not self.refused:
            return "MLflow has everything"
        parts = [f"{self.events} events are not sent to MLflow yet"] if self.events else []
        parts += [f"{self.refused} are set aside, since MLflow never takes them"] if self.refused else []
        because = f" ({self.reason})" if self.reason else ""
        return f"{' and '.join(parts)}{because}; they lie in {self.directory}"


class Tracking:
    """Runs in one MLflow store, written through a spool on this machine's disk.

    Nothing that happens to the store is raised here: what it cannot take now is sent later, in the order of
    each run and once, by this object, or after its end by another one on the same spool. Processes on one
    machine share a spool. A run is made by whoever comes first; two machines must not make it at once.

    Args:
        uri: MLflow tracking URI: ``http(s)://`` or a database such as ``sqlite:////absolute/mlflow.db``.
        spool: local directory, made when absent.
        interval: seconds between two batches.

    Raises:
        MissingExtra: MLflow is not installed.
        StorageError: the spool cannot be made, or other users can write it.
    """

    def __init__(self, uri: str, spool: Path, *, interval: float = 2.0) -> None:
        prepare_mlflow()
        store = hashlib.sha256(without_user_info(uri).encode()).hexdigest()[:12]
        # What lies there is sent, with the files it names: only this user may put it there.
        self._root = private_directory(Path(spool).absolute() / store)
        self._journals: dict[Path, Journal] = {}
        self._sender = Sender(uri, self._root, interval=interval)
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
        place = Journal.place(self._root, experiment, key)
        new = place not in self._journals
        if new:
            self._journals[place] = Journal(place, Header(experiment, name, key, parent_key))
        log = RunLog(self._journals[place], wake=self._sender.wake)
        log.params(params or {})
        log.tags(tags or {})
        if new:
            self._sender.add(self._journals[place])
        return log

    def let_go(self, log: RunLog | None = None) -> None:
        """Have done with a run, or with all: what they keep open is closed once MLflow has all of it.

        They may be opened again; what was returned for them before is of no more use.
        """
        places = list(self._journals) if log is None else [log.place]
        self._sender.let_go(journal for place in places if (journal := self._journals.pop(place, None)))

    def flush(self, timeout: float = 30.0) -> Unsent:
        """Wait until MLflow has all events of this object's runs, for at most ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        self._sender.wake()
        while (unsent := self.unsent()).events and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return unsent

    def close(self, timeout: float = 15.0) -> Unsent:
        """Send what is left, for at most ``timeout`` seconds, and let go of the spool; may be repeated.

        Returns:
            What MLflow does not have of the whole spool, whoever wrote it.
        """
        leaving = self._sender.finish(timeout)
        journals = [*self._journals.values(), *leaving]
        unsent = self._unsent(*waiting(self._root))
        for journal in journals:
            journal.close(remove_if_done=not self._sender.is_alive())
        self._journals.clear()
        return unsent

    def unsent(self) -> Unsent:
        """What MLflow does not have of this object's runs."""
        events, refused = self._sender.leaving()
        journals = list(self._journals.values())
        return self._unsent(
            events + sum(journal.unsent() for journal in journals),
            refused + sum(journal.refused() for journal in journals),
        )

    def _unsent(self, events: int, refused: int) -> Unsent:
        return Unsent(events, refused, self._root, self._sender.reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
