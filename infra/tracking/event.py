"""What a run log writes, one JSON line each."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["point", "params", "tags", "artifact", "status"]


@dataclass(frozen=True)
class Header:
    """Which run a journal belongs to.

    Attributes:
        experiment: MLflow experiment, made when absent.
        name: run name as the UI shows it.
        key: identifies the run for ever within its experiment; kept in the tag ``speechprompt.key``.
        parent_key: key of the parent run in the same experiment, which need not exist yet.
    """

    experiment: str
    name: str
    key: str
    parent_key: str | None


def now() -> int:
    """Milliseconds since the epoch, as MLflow counts."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Event:
    """One thing to send.

    Attributes:
        kind: what it is.
        time: milliseconds since the epoch at which it happened; part of a metric's identity at the server, so
            it stays what it is when an event is sent again.
        step: optimizer step of a point.
        values: metrics, parameters or tags by name.
        path: where an artifact appears below the run's artifacts.
        file: name of the artifact's content beside the journal.
        status: final status of the run.
    """

    kind: Kind
    time: int = field(default_factory=now)
    step: int = 0
    values: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    file: str = ""
    status: str = ""

    def line(self) -> bytes:
        """The event as a line of JSON; NaN and infinities in Python's spelling."""
        return json.dumps(asdict(self), ensure_ascii=False).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Event:
        """Read what ``line`` wrote.

        Raises:
            ValueError: the line is torn or was written by something else.
        """
        value = json.loads(line)
        if not isinstance(value, dict):
            raise ValueError("a journal line must be a JSON object")
        try:
            return cls(**value)
        except TypeError as error:
            raise ValueError(str(error)) from error
