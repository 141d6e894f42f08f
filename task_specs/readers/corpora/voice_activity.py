"""Voice activity: speech of Google Speech Commands v2 against background sounds of Freesound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from task_specs.example import Split
from task_specs.readers.audio_files import FILE
from task_specs.readers.corpus import Corpus, Counts, Utterance
from task_specs.readers.folder import Folder

LABELS = ("speech", "background")
PARTS: dict[Split, str] = {"train": "training", "valid": "validation", "test": "testing"}


class VoiceActivity(Corpus):
    """The output of NeMo's ``process_vad_data.py``, with its audio below the root.

    ``manifest/balanced_{speech,background}_{training,validation,testing}_manifest.json`` hold one JSON object per line:
    ``audio_filepath`` (absolute, or relative to the root), ``duration`` and ``offset`` in seconds, ``label``.
    """

    origin: ClassVar[str] = "NeMo's scripts freesound_download_resample and process_vad_data.py"
    licence: ClassVar[str] = "speech CC BY 4.0; background Creative Commons, by clip"
    classes: ClassVar[tuple[int, ...]] = (2,)
    repeats: ClassVar[bool] = True
    published: ClassVar[dict[str, Counts]] = {"official": {"all": 109_617}}

    split: Literal["official"] = "official"

    def utterances(self, folder: Folder) -> Iterator[Utterance]:
        names = [f"balanced_{label}_{part}_manifest.json" for part in PARTS.values() for label in LABELS]
        top = folder.above(*(f"{directory}{name}" for directory in ("manifest/", "") for name in names))
        base = top.removesuffix("manifest/")
        for split, part in PARTS.items():
            for label in LABELS:
                path = f"{top}balanced_{label}_{part}_manifest.json"
                for line, text in folder.lines(path):
                    piece = _piece(text)
                    if piece is None or piece[3] != label:
                        message = f"is not a piece of {label} with its file, offset and duration"
                        folder.problem(path, message, "make the manifests again", line=line)
                        continue
                    audio, start, seconds, _ = piece
                    if not folder.audio.has(audio, FILE) and folder.audio.has(f"{base}{audio}", FILE):
                        audio = f"{base}{audio}"
                    end = round(start + seconds, 6)
                    yield Utterance(audio, (label,), split, start=start, end=end, listed=(path, line))


def _piece(text: str) -> tuple[str, float, float, str] | None:
    """Return file, offset, duration and label of a line; ``None`` if it is not valid."""
    try:
        entry: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    path, label = entry.get("audio_filepath"), entry.get("label")
    start, seconds = entry.get("offset"), entry.get("duration")
    if not (isinstance(start, int | float) and isinstance(seconds, int | float)):
        return None
    if not (isinstance(path, str) and path and isinstance(label, str) and 0 <= start < 1e6 and 0 < seconds < 1e6):
        return None
    return path, float(start), float(seconds), label
