"""What every dataset reader is: the ``data`` section of a task spec, which can read the examples it names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from task_specs.example import Example
from task_specs.problems import ProblemList


class Row(NamedTuple):
    """An example and where it stands.

    Attributes:
        example: the example; neither clip nor units where a problem with them was reported.
        uri: the file it was read from.
        line: its line or row there, from 1.
    """

    example: Example
    uri: str
    line: int


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    Attributes:
        rows: every example whose split and labels could be read.
        complete: whether these are all; otherwise a split or a label may only seem to be absent.
    """

    rows: list[Row]
    complete: bool


class Reader(BaseModel, ABC):
    """Base of the readers. A subclass declares the keys a user may write as fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sections: ClassVar[dict[str, type[BaseModel]]] = {}
    """Models of the fields that are mappings themselves."""

    reader: str = "manifest"
    """Name of the reader, as registered in ``task_specs.readers.READERS``."""

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """Names of the labels every example has."""

    @abstractmethod
    def read(self, problems: ProblemList) -> Reading:
        """Reads every example, in the order of the files, and notes every problem."""
