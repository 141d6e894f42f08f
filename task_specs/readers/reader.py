"""Base class of the dataset readers: the ``data`` section of a task spec, which reads its examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from task_specs.example import Example
from task_specs.problems import ProblemList


class Row(NamedTuple):
    """An example and its place in a file.

    Attributes:
        example: the example; without clip and units if a problem with them was reported.
        uri: URI of the file that it was read from.
        line: line or row in that file, from 1; ``None`` if the file is the recording itself.
    """

    example: Example
    uri: str
    line: int | None


@dataclass(frozen=True)
class Reading:
    """Result of a reader.

    Attributes:
        rows: examples whose split and labels could be read.
        complete: whether these are all examples; otherwise a split or label may only seem to be missing.
        notes: sentences that a user should read although nothing is wrong.
    """

    rows: list[Row]
    complete: bool
    notes: tuple[str, ...] = ()


class Reader(BaseModel, ABC):
    """Base of the readers. A subclass declares the allowed keys as fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sections: ClassVar[dict[str, type[BaseModel]]] = {}
    """Models of fields that are mappings."""
    repeats: ClassVar[bool] = False
    """Whether recordings are repeated on purpose."""

    reader: str = "manifest"
    """Name of the reader, as registered in ``task_specs.readers.READERS``."""
    duplicates: Literal["keep", "drop"] | None = "keep"
    """What to do with copies of recordings: ``keep`` reports their number and the splits that share them; ``drop``
    keeps one of each, in test before valid before train; ``None`` does not search for them."""

    @property
    def opened(self) -> bool:
        """Whether the header of every recording is read, so that unreadable ones are problems."""
        return False

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """Names of the slots."""

    @abstractmethod
    def read(self, problems: ProblemList) -> Reading:
        """Read every example, in the order of the files, and add every problem to ``problems``."""
