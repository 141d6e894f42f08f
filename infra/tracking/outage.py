"""What is said of a store that does not take what it is sent, or of a spool whose disk does not take how far that came:
one line when it begins, and one when it is over."""

from __future__ import annotations

import logging
from pathlib import Path

from infra.redaction import redacted
from infra.tracking.journal import SpoolError
from infra.tracking.store import Store

logger = logging.getLogger("speechprompt.tracking")


class Outage:
    """The runs that a store does not take, or not whole.

    Args:
        tracker: class of the store.
        uri: its address.
        root: where they wait.

    Attributes:
        reason: why the store did not take the last of them; none while it takes all.
    """

    def __init__(self, tracker: type[Store], uri: str, root: Path) -> None:
        self._reason = tracker.reason
        self._store = self._at_fault = f"{tracker.tracker} at {redacted(uri)}"
        self._root = root
        self._runs: set[Path] = set()
        self.reason: str | None = None

    def meets(self, run: Path, error: Exception) -> None:
        """It does not take this one."""
        self._runs.add(run)
        reason = self._reason(error)
        if self.reason is None:
            self._at_fault = "the tracking spool" if isinstance(error, SpoolError) else self._store
            logger.warning(
                "%s cannot be used (%s); what is not sent is kept in %s until it can",
                self._at_fault,
                reason,
                self._root,
            )
        self.reason = reason

    def spares(self, run: Path) -> None:
        """It took this one, or another process sends it."""
        self._runs.discard(run)
        if self.reason is not None and not self._runs:
            logger.warning("%s is back", self._at_fault)
            self.reason = None
