"""What a run log writes, one JSON document each."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter

Kind = Literal["point", "params", "tags", "artifact", "status"]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What a database holds."""

_STRICT = ConfigDict(extra="forbid", strict=True)
_ARTIFACT = re.compile(r"(figures|tables|texts)/(?!\.{1,2}$)[\w.\- :]+")
_FILE = re.compile(r"[0-9a-f]{32}")
_STATUS = re.compile(r"FINISHED|FAILED|KILLED")


@dataclass(frozen=True)
class Header:
    """Which run a journal belongs to.

    Attributes:
        experiment: MLflow experiment, made when absent.
        name: run name as the UI shows it.
        key: identifies the run for ever within its experiment; kept in the tag ``speechprompt.key``.
        parent_key: key of the parent run in the same experiment, which need not exist yet.
    """

    __pydantic_config__ = _STRICT

    experiment: str
    name: str
    key: str
    parent_key: str | None

    def document(self) -> bytes:
        """The header as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def parse(cls, document: bytes) -> Header:
        """Read what ``document`` wrote.

        Raises:
            ValueError: it was written by something else.
        """
        return _HEADER.validate_json(document)


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
        values: metrics, or parameters and tags as text, by name.
        path: where an artifact appears below the run's artifacts.
        file: name of the artifact's content beside the journal.
        digest: SHA-256 of that content.
        status: final status of the run.
    """

    __pydantic_config__ = _STRICT

    kind: Kind
    time: Whole = field(default_factory=now)
    step: Whole = 0
    values: Mapping[str, float | str] = field(default_factory=dict)
    path: str = ""
    file: str = ""
    digest: str = ""
    status: str = ""

    def document(self) -> bytes:
        """The event as JSON on one line; NaN and infinities in Python's spelling."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def parse(cls, document: bytes) -> Event:
        """Read what ``document`` wrote.

        Raises:
            ValueError: it is torn, was written by something else, or holds what no store can take.
        """
        event = _EVENT.validate_json(document)
        of = float if event.kind == "point" else str
        fits = {
            "artifact": _ARTIFACT.fullmatch(event.path) and _FILE.fullmatch(event.file),
            "status": _STATUS.fullmatch(event.status),
        }.get(event.kind, all(isinstance(value, of) for value in event.values.values()))
        if not fits:
            raise ValueError(f"no such {event.kind}")
        return event


_HEADER = TypeAdapter(Header)
_EVENT = TypeAdapter(Event)
