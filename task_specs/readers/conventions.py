"""Manifests of other toolkits, told by their columns: which of these mean what, and what cannot be read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from task_specs.readers.table import plain

Column = Literal["path", "units", "frame_units", "split", "start", "end", "speaker", "duration"]

_REWRITE: Final = "write a manifest with the columns path, label and split, and start and end in seconds"


@dataclass(frozen=True)
class Convention:
    """How one toolkit writes manifests.

    Attributes:
        name: as its users call it.
        signs: columns that are all there.
        columns: what they are called here, and there.
        refusal: why it is not read, and the remedy.
        where: columns any of which must be there for the refusal to hold; none: it always does.
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
        refusal=("holds cuts of lhotse, whose labels and paths lie within other fields", _REWRITE),
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
"""Columns that hold what is read, by names of others."""


def convention_of(header: Sequence[str]) -> Convention | None:
    """The toolkit whose manifest has these columns; ``None`` for one that is nobody's."""
    names = {plain(name) for name in header}
    for one in CONVENTIONS:
        if one.signs <= names and (not one.where or one.where & names):
            return one
    return None
