"""Manifests of other toolkits, recognised by their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from task_specs.readers.table import plain

Column = Literal["path", "units", "frame_units", "split", "start", "end", "speaker", "duration"]

_REWRITE: Final = "write a manifest with the columns path, label and split, and start and end in seconds"


@dataclass(frozen=True)
class Convention:
    """A toolkit's convention for manifests.

    Attributes:
        name: name of the toolkit.
        signs: columns that all must be present.
        columns: the toolkit's name for each column.
        refusal: why the manifest is not read, and the remedy.
        where: columns of which at least one must be present for this convention; empty: none need be.
    """

    name: str
    signs: frozenset[str]
    columns: Mapping[Column, str] = field(default_factory=dict)
    refusal: tuple[str, str] | None = None
    where: frozenset[str] = frozenset()


CONVENTIONS: Final = (
    Convention(
        "NeMo",
        frozenset({"audio_filepath"}),
        {"path": "audio_filepath", "start": "offset", "duration": "duration"},
    ),
    Convention(
        "lhotse",
        frozenset({"id", "recording", "supervisions"}),
        refusal=("holds cuts of lhotse, whose labels and paths are inside other fields", _REWRITE),
    ),
    Convention(
        "lhotse",
        frozenset({"id", "sources", "sampling_rate"}),
        refusal=("holds recordings of lhotse, which have no labels", _REWRITE),
    ),
    Convention(
        "lhotse",
        frozenset({"id", "recording_id", "start", "duration"}),
        refusal=("holds supervisions of lhotse, which name no audio files", _REWRITE),
    ),
    Convention(
        "SpeechBrain",
        frozenset({"id", "wav", "duration"}),
        refusal=("counts start and stop in samples, as SpeechBrain does", _REWRITE),
        where=frozenset({"stop"}),
    ),
    Convention("SpeechBrain", frozenset({"id", "wav", "duration"}), {"path": "wav"}),
    Convention("SpeechBrain", frozenset({"wav", "length"}), {"path": "wav"}),
    Convention("Common Voice", frozenset({"client_id", "path", "sentence"}), {"speaker": "client_id"}),
    Convention("Hugging Face", frozenset({"file_name"}), {"path": "file_name"}),
    Convention("Hugging Face", frozenset({"audio"}), {"path": "audio"}),
)

FOREIGN_NAMES: Final = frozenset(name for one in CONVENTIONS for name in one.columns.values())
"""Names of other toolkits for columns that are read."""


def convention_of(header: Sequence[str]) -> Convention | None:
    """Return the toolkit whose manifests have these columns; ``None`` if there is none."""
    names = {plain(name) for name in header}
    for one in CONVENTIONS:
        if one.signs <= names and (not one.where or one.where & names):
            return one
    return None
