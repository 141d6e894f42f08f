"""What is said of a store that does not take what it is sent: one line when that begins, and one when it is over."""

from __future__ import annotations

import logging
from pathlib import Path

from infra.redaction import redacted
from infra.tracking.faults import shown

logger = logging.getLogger("speechprompt.tracking")


class Outage:
    """The runs that a store does not take, or not whole.

    Args:
        uri: MLflow tracking URI.
        root: where they wait.

    Attributes:
        reason: why the store did not take the last of them; none while it takes all.
    """

    def __init__(self, uri: str, root: Path) -> None:
        self._uri = redacted(uri)
        self._root = root
        self._runs: set[Path] = set()
        self.reason: str | None = None

    def meets(self, run: Path, error: Exception) -> None:
        """It does not take this one."""
        self._runs.add(run)
        reason = shown(error)
        if self.reason is None:
            logger.warning(
                "MLflow at %s cannot be used (%s); what it does not take is kept in %s until it can",
                self._uri,
                reason,
                self._root,
            )
        self.reason = reason

    def spares(self, run: Path) -> None:
        """It took this one, or another process sends it."""
        self._runs.discard(run)
        if self.reason is not None and not self._runs:
            logger.warning("MLflow at %s is back", self._uri)
            self.reason = None
