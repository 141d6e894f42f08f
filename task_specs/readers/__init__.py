"""The ways examples are read. A new one is a subclass of ``Reader`` and one line here."""

from task_specs.readers.manifest import Manifest
from task_specs.readers.reader import Reader, Reading, Row

__all__ = ["READERS", "Reader", "Reading", "Row"]

READERS: dict[str, type[Reader]] = {
    "manifest": Manifest,
}
