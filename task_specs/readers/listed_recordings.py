"""The recordings that a data set's lists name, as they lie on the disk."""

from __future__ import annotations

import posixpath
import shlex
from collections import Counter
from dataclasses import dataclass, field

from task_specs.problems import ProblemList
from task_specs.readers.audio_files import DIRECTORY, FILE, NotFound
from task_specs.readers.folder import READABLE, Folder
from task_specs.readers.sound_of_videos import UNREADABLE, deep_extraction, extraction


@dataclass
class _Missing:
    """Recordings that one list names and nobody finds."""

    line: int | None
    error: NotFound
    paths: list[str] = field(default_factory=list)


class ListedRecordings:
    """Finds recordings and keeps count of those that are missing.

    A recording may differ from its list in the case of its name, in its ending where it was converted, and in the
    directory above the data set where the list holds absolute paths. What was taken for what is noted.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._moved = ""
        self._instead: Counter[str] = Counter()
        self._missing: dict[str | None, _Missing] = {}
        self._listed: Counter[str | None] = Counter()

    def find(self, path: str, listed: tuple[str, int] | None) -> str | None:
        """URI of a recording; ``None`` if there is none, which is kept for `report`.

        Args:
            path: relative to the root, or absolute.
            listed: the list and the line of it that name the recording, if any does.
        """
        where, line = listed or (None, None)
        self._listed[where] += 1
        try:
            return self._folder.audio.find(path)
        except NotFound as error:
            inside = self._inside(path)
            other = self._like(inside)
            if other is not None:
                return self._folder.audio.find(other)
            missing = self._missing.setdefault(where, _Missing(line, error))
            if not missing.paths or missing.paths[-1] != inside:
                missing.paths.append(inside)
            return None

    def report(self, problems: ProblemList, remedy: str, *, drop: bool) -> None:
        """Notes what was taken for what, and what is missing: as a problem, unless it is to be left out."""
        for what, count in sorted(self._instead.items()):
            self._folder.note(f"{count} recordings {what}")
        for where, missing in self._missing.items():
            paths = dict.fromkeys(missing.paths)
            first, more = next(iter(paths)), len(paths) - 1
            of = self._listed[where]
            if drop and len(paths) < of:
                self._folder.note(f"{len(paths)} of {of} recordings are not there and are left out, the first {first}")
                continue
            others = f", and {more} more of the {of} recordings listed are missing" if more else ""
            problems.add(
                self._folder.uri(where or first),
                "",
                f"{missing.error.message}{others}",
                self._remedy(list(paths), missing.error, remedy),
                line=missing.line,
            )

    def _remedy(self, paths: list[str], error: NotFound, remedy: str) -> str:
        directory, name = posixpath.split(paths[0])
        without = "or write 'missing: drop' under data to do without"
        if posixpath.isabs(directory) or directory.startswith(".."):
            return f"{error.remedy}, {without}"
        for ending in UNREADABLE:
            if self._folder.tree.alike(directory, posixpath.splitext(name)[0] + ending, FILE):
                directories = {posixpath.dirname(path) for path in paths}
                top = posixpath.commonpath(directories)
                command = extraction(ending) if directories == {top} else deep_extraction(ending)
                return f"extract the sound of the {ending} files: cd {shlex.quote(self._folder.uri(top))} && {command}"
        packed = self._folder.packed(directory)
        unpack = "" if packed is None else f"{self._folder.unpacking(packed)}, or "
        return f"{unpack}{remedy}, {without}"

    def _inside(self, path: str) -> str:
        """The path below the root of a recording that was listed where the data set lay before."""
        path = path.replace("\\", "/").removeprefix(f"{self._folder.root.rstrip('/')}/")
        if not path.startswith(("/", "../")) and path[1:3] != ":/":
            return path
        if self._moved and path.startswith(self._moved):
            inside = path.removeprefix(self._moved)
            if self._folder.audio.has(inside, FILE):
                self._instead[f"are listed below {self._moved}"] += 1
                return inside
        parts = path.split("/")
        # A name alone could be anyone's.
        for start in range(1, len(parts) - 1):
            inside = "/".join(parts[start:])
            if self._folder.audio.has(inside, FILE):
                self._moved = "/".join(parts[:start]) + "/"
                self._instead[f"are listed below {self._moved}"] += 1
                return inside
        return path

    def _like(self, path: str) -> str | None:
        """What there is in place of a recording: one whose name differs in case, or in its ending."""
        if self._folder.audio.has(path, FILE):
            return path
        own = self._folder.tree.spelled(path, FILE)
        if own is not None:
            self._instead["are named in another case than they are listed"] += 1
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
