"""Data sets that are distributed as videos, of which only the sound is read."""

from __future__ import annotations

from task_specs.readers.audio_files import DIRECTORY, FILE
from task_specs.readers.folder import Folder

COMMAND = "for f in *.mp4; do ffmpeg -i $f -ac 1 -ar 16000 ${f%.mp4}.wav; done"


def has_sound(folder: Folder, path: str) -> bool:
    """Whether a directory holds recordings; one with nothing but videos is a problem, with the command that helps."""
    if folder.audio.has(path, DIRECTORY):
        names = [name.lower() for name in folder.audio.names(path, FILE)]
        if any(name.endswith(".mp4") for name in names) and not any(name.endswith(".wav") for name in names):
            folder.problem(path, "holds videos without their sound", f"extract it there: {COMMAND}")
            return False
    return bool(folder.files(path))
