"""What every dataset reader is: the ``data`` section of a task spec, which can read the examples it names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from task_specs.example import Example
from task_specs.problems import ProblemList


class Row(NamedTuple):
    """An example and where it stands.

    Attributes:
        example: the example; neither clip nor units where a problem with them was reported.
        uri: the file it was read from.
        line: its line or row there, from 1; ``None`` where the file is the recording itself.
    """

    example: Example
    uri: str
    line: int | None


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    Attributes:
        rows: every example whose split and labels could be read.
        complete: whether these are all; otherwise a split or a label may only seem to be absent.
        notes: what a user should know, though nothing is wrong.
    """

    rows: list[Row]
    complete: bool
    notes: tuple[str, ...] = ()


class Reader(BaseModel, ABC):
    """Base of the readers. A subclass declares the keys a user may write as fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sections: ClassVar[dict[str, type[BaseModel]]] = {}
    """Models of the fields that are mappings themselves."""
    repeats: ClassVar[bool] = False
    """Whether it names a recording more than once on purpose."""

    reader: str = "manifest"
    """Name of the reader, as registered in ``task_specs.readers.READERS``."""
    duplicates: Literal["keep", "drop"] | None = "keep"
    """What becomes of recordings with the same bytes: ``keep`` tells how many there are and which splits share
    them; ``drop`` leaves each once, in test before valid before train. With nothing nobody looks."""

    @property
    def opened(self) -> bool:
        """Whether the header of every recording is read, so that an unreadable one is a problem."""
        return False

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """Names of the labels every example has."""

    @abstractmethod
    def read(self, problems: ProblemList) -> Reading:
        """Reads every example, in the order of the files, and notes every problem."""
