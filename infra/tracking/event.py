"""What a run log writes, one JSON document each."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What a database holds."""

_STRICT = ConfigDict(extra="forbid", strict=True)
_LENIENT = ConfigDict(extra="ignore", strict=True)
"""Lines of earlier versions hold the fields of all kinds of events."""


def _matching(pattern: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError("is no name of an artifact")
        return text

    return check


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
class Point:
    """Metrics at an optimizer step.

    Attributes:
        step: optimizer step.
        values: metrics by name.
        time: milliseconds since the epoch at which they were logged; part of a metric's identity at the server, so it
            stays what it is when an event is sent again.
    """

    __pydantic_config__ = _LENIENT

    step: Whole
    values: Mapping[str, float]
    time: Whole = field(default_factory=now)
    kind: Literal["point"] = "point"


@dataclass(frozen=True)
class Params:
    """Parameters, as text by name."""

    __pydantic_config__ = _LENIENT

    values: Mapping[str, str]
    kind: Literal["params"] = "params"


@dataclass(frozen=True)
class Tags:
    """Tags, as text by name."""

    __pydantic_config__ = _LENIENT

    values: Mapping[str, str]
    kind: Literal["tags"] = "tags"


@dataclass(frozen=True)
class Artifact:
    """A file.

    Attributes:
        path: where it appears below the run's artifacts.
        file: name of its content beside the journal.
        digest: SHA-256 of that content.
    """

    __pydantic_config__ = _LENIENT

    path: Annotated[str, AfterValidator(_matching(r"(figures|tables|texts)/(?!\.{1,2}$)[\w.\- :]+"))]
    file: Annotated[str, AfterValidator(_matching(r"[0-9a-f]{32}"))]
    digest: str
    kind: Literal["artifact"] = "artifact"


@dataclass(frozen=True)
class Status:
    """How the run ended, and when, in milliseconds since the epoch."""

    __pydantic_config__ = _LENIENT

    status: RunStatus
    time: Whole = field(default_factory=now)
    kind: Literal["status"] = "status"


Logged = Point | Params | Tags
"""What one call may take many of."""
Event = Logged | Artifact | Status


def document(event: Event) -> bytes:
    """The event as JSON on one line; NaN and infinities in Python's spelling."""
    return json.dumps(asdict(event), ensure_ascii=False).encode()


def parse(document: bytes) -> Event:
    """Read what ``document`` wrote.

    Raises:
        ValueError: it is torn, was written by something else, or holds what no store can take.
    """
    return _EVENT.validate_json(document)


_HEADER = TypeAdapter(Header)
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])
