"""What the fuzzer of stored files knows of a kind of them; another kind is another value of ``StoredKind``."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from infra.errors import SpeechPromptError


class Odd(Enum):
    """What may stand in a file's place that is no file, or none of a size to be read."""

    DIRECTORY = "a directory"
    FIFO = "a FIFO"
    LOOP = "a link to itself"
    DEVICE = "a link to a device without an end"
    VAST = "a terabyte of zeros"


Files = dict[str, bytes | Odd]
"""By path below the directory of the kind."""


@dataclass(frozen=True)
class StoredKind:
    """A kind of files that is written and read back.

    Attributes:
        what: it is, for people.
        write: puts one into an empty directory; every number makes another one.
        read: reads it from that directory as the product does; ``None`` stands for "nothing is there".
        accepts: whether what was read of damaged files, given first, is right; given second is what was read of the
            whole ones.
        forge: makes the digests in the files right again after the damage, as one who means harm would.
        refusals: errors by which damage may be refused.
    """

    what: str
    write: Callable[[Path, int], object]
    read: Callable[[Path], Any]
    accepts: Callable[[Any, Any], bool] = operator.eq
    forge: Callable[[Files], None] | None = None
    refusals: tuple[type[Exception], ...] = (SpeechPromptError,)
