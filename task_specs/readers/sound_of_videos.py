"""Data sets distributed as videos or in unreadable formats, of which only the sound is needed."""

from __future__ import annotations

from task_specs.readers.audio_files import DIRECTORY
from task_specs.readers.folder import READABLE, Folder

UNREADABLE = (".mp4", ".m4a", ".mkv", ".avi", ".mov", ".webm", ".aac", ".opus", ".wma", ".sph")


def extraction(ending: str) -> str:
    """Return the command that extracts the sound of all files with an ending in the working directory."""
    return f'for f in *{ending}; do ffmpeg -i "$f" -ac 1 -ar 16000 "${{f%{ending}}}.wav"; done'


def deep_extraction(ending: str) -> str:
    """Return the command that does this also in the directories below it."""
    convert = f'ffmpeg -nostdin -i "$1" -ac 1 -ar 16000 "${{1%{ending}}}.wav"'
    return f"find . -name '*{ending}' -exec sh -c '{convert}' sh {{}} \\;"


def sound_in(folder: Folder, *paths: str) -> str | None:
    """Return the first of the directories that holds recordings; ``None`` if none does, which is a problem.

    If it holds only videos, the problem gives the command that extracts their sound.
    """
    there = [
        path for path in dict.fromkeys(map(folder.first, paths)) if folder.tree.spelled(path, DIRECTORY) is not None
    ]
    for path in there:
        if folder.names(path, READABLE):
            return path
    for path in there:
        for ending in UNREADABLE:
            if folder.names(path, (ending,)):
                folder.problem(path, "holds videos without their sound", f"extract it there: {extraction(ending)}")
                return None
    folder.files(there[0] if there else paths[0])
    return None
