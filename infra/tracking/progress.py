"""How much of a run's journal the store has; read by anybody, also where the journal cannot be opened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter

from infra.tracking.spool_file import open_own, read_sealed, write_sealed

EVENTS = "events"
REFUSED = "refused.jsonl"
_SENT = "sent"
_READ_BYTES = 1 << 20
_Offset = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Sent:
    """How far the sending came.

    Attributes:
        offset: bytes of the journal that were sent, or put off.
        late: where in them the artifacts begin that the store could not take; in order.
        run_id: the run in the store, once known.
        linked: whether the run hangs below its parent, or has none.
        sender: who wrote this; another sender's memory of the run is then out of date.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    offset: _Offset = 0
    late: tuple[_Offset, ...] = ()
    run_id: str | None = None
    linked: bool = False
    sender: str = ""


_ADAPTER = TypeAdapter(Sent)


def read_sent(directory: Path) -> Sent:
    """How far the sending of a run came; not at all where that is not known, as sending again changes nothing."""
    try:
        sent = _ADAPTER.validate_json(read_sealed(directory / _SENT))
        # A journal that is shorter than what was sent of it is another one.
        return sent if sent.offset <= (directory / EVENTS).stat().st_size else Sent()
    except (OSError, ValueError):
        return Sent()


def write_sent(directory: Path, sent: Sent) -> None:
    """Remember how far the sending came.

    Raises:
        OSError: the disk does not take it.
    """
    write_sealed(directory / _SENT, json.dumps(asdict(sent)).encode())


def count_unsent(directory: Path) -> int:
    """Events of a run that the store has not confirmed."""
    sent = read_sent(directory)
    return len(sent.late) + _lines(directory / EVENTS, sent.offset)


def count_refused(directory: Path) -> int:
    """How many events of a run were set aside."""
    return _lines(directory / REFUSED, 0)


def waiting(root: Path) -> tuple[int, int]:
    """Events of all runs in a store's spool, whoever wrote them: not sent yet, and set aside."""
    unsent = refused = 0
    for run in [place.parent for place in root.glob(f"*/{EVENTS}")]:
        try:
            unsent += count_unsent(run)
            refused += count_refused(run)
        except OSError:
            # What cannot be read was not sent; how much of it there is nobody knows.
            unsent += 1
    return unsent, refused


def _lines(file: Path, offset: int) -> int:
    # A run whose last event was just sent may be removed meanwhile.
    with suppress(FileNotFoundError):
        return sum(block.count(b"\n") for block in _blocks(file, offset))
    return 0


def _blocks(path: Path, offset: int) -> Iterator[bytes]:
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        file.seek(offset)
        while block := file.read(_READ_BYTES):
            yield block
