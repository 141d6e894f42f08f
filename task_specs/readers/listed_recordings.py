"""Finding the recordings that a data set's lists name."""

from __future__ import annotations

import posixpath
import shlex
from collections import Counter

from task_specs.problems import ProblemList
from task_specs.readers.audio_files import DIRECTORY, FILE, NotFound
from task_specs.readers.folder import READABLE, Folder
from task_specs.readers.sound_of_videos import UNREADABLE, deep_extraction, extraction


class ListedRecordings:
    """Finds listed recordings and counts missing ones.

    A recording may differ from its list in case, in its ending if it was converted, and in the directory above the data
    set if the list holds absolute paths. Such differences are noted.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._moved = ""
        self._instead: Counter[str] = Counter()
        self._found: set[str] = set()
        self._missing: dict[str, None] = {}
        self._first: tuple[str, int | None, NotFound] | None = None

    def find(self, path: str, listed: tuple[str, int] | None) -> str | None:
        """Return the URI of a recording; ``None`` if it is missing, which `report` reports.

        Args:
            path: path relative to the root, or absolute.
            listed: list and line that name the recording; ``None`` if it was found in a directory.
        """
        uri, error = self._find(path)
        if error is None:
            self._found.add(uri)
            return uri
        inside = self._inside(path)
        where, line = listed or (inside, None)
        self._first = self._first or (self._folder.uri(where), line, error)
        self._missing[inside] = None
        return None

    def _find(self, path: str) -> tuple[str, NotFound | None]:
        try:
            return self._folder.audio.find(path), None
        except NotFound as error:
            other = self._like(self._inside(path))
            return ("", error) if other is None else (self._folder.audio.find(other), None)

    def report(self, problems: ProblemList, remedy: str, *, drop: bool) -> None:
        """Note differences between recordings and lists, and report missing ones as a problem or, with ``drop``, a
        note."""
        for what, count in sorted(self._instead.items()):
            self._folder.note(f"{count} recordings {what}")
        if self._first is None:
            return
        uri, line, error = self._first
        paths, of = list(self._missing), len(self._missing) + len(self._found)
        if drop and self._found:
            text = f"{len(paths)} of {of} recordings are missing and left out, the first {paths[0]}"
            self._folder.note(text)
            return
        others = f", and {len(paths) - 1} more of the {of} recordings listed are missing" if paths[1:] else ""
        problems.add(uri, "", f"{error.message}{others}", self._remedy(paths, error, remedy), line=line)

    def _remedy(self, paths: list[str], error: NotFound, remedy: str) -> str:
        directory, name = posixpath.split(paths[0])
        without = "or write 'missing: drop' under data to leave it out"
        if posixpath.isabs(directory) or directory.startswith(".."):
            return f"{error.remedy}, {without}"
        for ending in UNREADABLE:
            if self._folder.tree.alike(directory, posixpath.splitext(name)[0] + ending, FILE):
                directories = {posixpath.dirname(path) for path in paths if not posixpath.isabs(path)}
                top = posixpath.commonpath(directories)
                command = extraction(ending) if directories == {top} else deep_extraction(ending)
                return f"extract the sound of the {ending} files: cd {shlex.quote(self._folder.uri(top))} && {command}"
        packed = self._folder.packed(directory)
        unpack = "" if packed is None else f"{self._folder.unpacking(packed)}, or "
        return f"{unpack}{remedy}, {without}"

    def _inside(self, path: str) -> str:
        """Return the path below the root of a recording whose list holds absolute paths of another place."""
        path = path.replace("\\", "/").removeprefix(f"{self._folder.root.rstrip('/')}/")
        if not path.startswith(("/", "../")) and path[1:3] != ":/":
            return path
        if self._moved and path.startswith(self._moved):
            inside = path.removeprefix(self._moved)
            if self._folder.audio.has(inside, FILE):
                self._instead[f"are listed below {self._moved}"] += 1
                return inside
        parts = path.split("/")
        # A file name alone is not enough.
        for start in range(1, len(parts) - 1):
            inside = "/".join(parts[start:])
            if self._folder.audio.has(inside, FILE):
                self._moved = "/".join(parts[:start]) + "/"
                self._instead[f"are listed below {self._moved}"] += 1
                return inside
        return path

    def _like(self, path: str) -> str | None:
        """Return a recording whose name differs in case or in its ending; ``None`` if there is none."""
        if self._folder.audio.has(path, FILE):
            return path
        own = self._folder.tree.spelled(path, FILE)
        if own is not None:
            self._instead["differ from their list in case"] += 1
            return own
        directory = self._folder.tree.spelled(posixpath.dirname(path), DIRECTORY)
        stem, ending = posixpath.splitext(posixpath.basename(path))
        if directory is None:
            return None
        others = [
            name
            for other in READABLE
            if other != ending.lower()
            for name in self._folder.tree.alike(directory, stem + other, FILE)
        ]
        if len(others) != 1:
            return None
        instead = posixpath.splitext(others[0])[1]
        self._instead[f"are {instead} instead of {ending}"] += 1
        return posixpath.join(directory, others[0])
