"""The folder of a published data set, with its lists and directories."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from infra import object_storage
from infra.errors import StorageError
from infra.foreign_file import foreign_file
from infra.printable import is_text, printable
from task_specs.problems import ProblemList, shown
from task_specs.readers.archives import Archives, archives, nearest_archives, stem
from task_specs.readers.audio_files import DIRECTORY, FILE, NEITHER, AudioFiles, Kind, NotFound
from task_specs.readers.list_text import decoded, fields
from task_specs.readers.table import Table, Wanted
from task_specs.readers.table_file import read_table
from task_specs.readers.tree import Place, Tree, folded

READABLE = (".wav", ".flac", ".ogg", ".mp3")
"""Endings of readable recordings."""


class Folder:
    """A data set's files, for a reader; whatever cannot be found or read is reported as a problem.

    The data set may be in another directory than the root, where `Place` finds it. Names may differ in case if they are
    not ambiguous.

    Args:
        root: directory URI.
        problems: list for problems.
        remedy: remedy for missing files.
        parts: directories of the data set, to recognise a root that is one of them.
        bare: archives, without their endings, that have no top-level directory.
        sources: where to get files that are not in archives, by their names.
    """

    def __init__(
        self,
        root: str,
        problems: ProblemList,
        remedy: str,
        *,
        parts: Sequence[str] = (),
        bare: Collection[str] = (),
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self.complete = True
        self.notes: list[str] = []
        self._problems = problems
        self._remedy = remedy
        self._noted: set[tuple[str, str, int | None]] = set()
        self._bare = bare
        self._sources = sources or {}
        self._packed: set[str] = set()
        self._place = Place(root, parts, note=self.note, problem=partial(self.problem, ""))

    @property
    def tree(self) -> Tree:
        """Files and directories below the root."""
        return self._place.tree

    @property
    def root(self) -> str:
        """URI of the directory that paths are relative to."""
        return self.tree.root

    @property
    def audio(self) -> AudioFiles:
        """Audio files below the root."""
        return self.tree.audio

    def usable(self) -> bool:
        """Check the root; return whether it is a readable directory."""
        if not object_storage.is_s3(self.root) and not Path(self.root).is_dir():
            self._no_directory()
            return False
        try:
            self.audio.names("", FILE)
        except (NotFound, StorageError) as error:
            self.problem("", error.reason, error.remedy or "correct 'root'")
            return False
        return True

    def _no_directory(self) -> None:
        directory, _, name = self.root.rstrip("/").rpartition("/")
        if not Path(self.root).exists():
            others = "" if "'root'" in self._remedy else f", or {self._remedy}"
            self.problem("", "there is no such directory", f"correct 'root'{others}")
        elif packed := archives(directory, [name]):
            self.problem("", "is an archive", f"unpack it and name its directory: {packed.command(self._bare)}")
        else:
            self.problem("", "is a file", f"name its directory, {shown(directory or '/')}")

    def problem(
        self, path: str, message: str, remedy: str, *, line: int | None = None, field: str = "", kind: str = ""
    ) -> None:
        """Report a problem with a file that says which recordings there are, or with a line of it."""
        self.complete = False
        kind = kind or ("" if line is None else remedy)
        # A reader may read a directory twice.
        if (path, message, line) not in self._noted:
            self._noted.add((path, message, line))
            self._problems.add(self.uri(path), field, message, remedy, line=line, kind=kind)

    def note(self, text: str) -> None:
        """Add a note, unless there is the same one."""
        if text not in self.notes:
            self.notes.append(text)

    def uri(self, path: str) -> str:
        """Return the URI of a path below the root."""
        return self.tree.uri(path)

    def first(self, *paths: str) -> str:
        """Return the first of the ``paths`` that exists in the root or below it; the first of all if none does."""
        return "".join(self._place.of(paths))

    def top(self, *marks: str) -> str:
        """Return the directory, with a slash, that holds one of the ``marks``; ``""`` for the root, or if there is
        none."""
        return self._place.of(marks)[0]

    def above(self, *marks: str, levels: int = 1) -> str:
        """Return the directory ``levels`` above the first of the ``marks``, with a slash; ``""`` for the root."""
        parts = self.first(*marks).split("/")[:-levels]
        return "".join(f"{part}/" for part in parts)

    def directories(self, path: str = "") -> list[str]:
        """Return the names of the directories in ``path``, sorted; a missing or empty one is a problem."""
        return self._names(path, DIRECTORY, "")

    def files(self, path: str, ending: str = ".wav") -> list[str]:
        """Return the names of the files in ``path`` with an ending in any case, sorted; none is a problem.

        Recordings that were all converted to another format count too, with a note.
        """
        if ending in READABLE and not self.names(path, (ending,)):
            for other in READABLE:
                if names := self.names(path, (other,)):
                    self.note(f"recordings are {other} instead of {ending}")
                    return names
        return self._names(path, FILE, ending)

    def below(self, path: str, endings: tuple[str, ...] = (".wav",), others: list[str] | None = None) -> list[str]:
        """Return the paths of all files below ``path`` with one of the endings, relative to it, sorted, and add those
        of all other files to ``others``. A directory that is reached twice, through a link, is a problem."""
        found: list[str] = []
        reached: set[object] = set()
        try:
            pending = [""]
            while pending:
                inside = pending.pop()
                at = "/".join(part for part in (path, inside) if part)
                prefix = f"{inside}/" if inside else ""
                identity = self.audio.identity(self.tree.spelled(at, DIRECTORY) or at)
                if identity in reached:
                    self.problem(at, "is a link to a directory that is read already", "remove it")
                    continue
                reached.add(identity)
                found += [prefix + name for name in self._entries(at, FILE, endings)]
                if others is not None:
                    names = self.tree.listed(at, FILE)
                    others += [prefix + name for name in names if not name.lower().endswith(endings)]
                pending += [prefix + name for name in self._entries(at, DIRECTORY, ("",))]
        except (NotFound, StorageError) as error:
            self.missing(path, error.reason)
        return sorted(found)

    def lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield every line of a text file that is not blank, with its number from 1."""
        text = self._text(path)
        for number, line in enumerate(re.split(r"\r\n|\n|\r", text or ""), start=1):
            if line.strip():
                yield number, line

    def fields(self, path: str, *counts: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the fields of every line, whose number must be one of ``counts``.

        They are separated by white space, or else by tabs, commas, semicolons or bars.
        """
        for number, line in self.lines(path):
            found = fields(line, counts)
            if len(found) in counts:
                yield number, found
            else:
                message = f"has {len(found)} fields instead of {counts[0]}"
                self.problem(path, message, "correct the line", line=number)

    def table(self, path: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the rows of a CSV or TSV file that has at least these ``columns``, in any case, with their lines."""
        text = self._text(path)
        table: Table | None = None
        if text is not None:
            table = read_table(self.uri(path), Wanted.of(columns), self._problems, data=text.encode())
        if table is None:
            self.complete = False
            return
        self.complete = self.complete and table.complete
        header = [folded(str(name).strip()) for name in table.columns]
        missing = [name for name in columns if folded(name) not in header]
        for name in missing:
            self.problem(path, "there is no such column", "get the file again", line=1, field=name)
        if not missing:
            places = [(name, header.index(folded(name))) for name in columns]
            for number, row in table.rows:
                yield number, {name: str(row[place]) for name, place in places}

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; ``None`` if it cannot be read or is recognisably another file, which is a
        problem."""
        try:
            data = object_storage.read_bytes(self.audio.find(self.tree.spelled(path, FILE) or path))
            foreign = foreign_file(data)
            if foreign is None:
                return data
            self.problem(path, f"is {foreign.what}", foreign.remedy)
        except NotFound:
            self.missing(path, "there is no such file")
        except StorageError as error:
            self.problem(path, error.reason, self._remedy)
        return None

    def seconds(self, path: str) -> float | None:
        """Return the length of a recording in seconds; ``None`` if it cannot be read or has none, which is a
        problem."""
        from task_specs.audio_container.recording import open_recording
        from task_specs.audio_container.unusable import UnusableAudio

        data = self.read(path)
        if data is None:
            return None
        try:
            with open_recording(io.BytesIO(data)) as recording:
                if recording.seconds is not None:
                    return recording.seconds
            self.problem(path, "has no length in its header", self._remedy)
        except UnusableAudio as error:
            self.problem(path, f"is not audio that can be decoded ({error.message})", self._remedy)
        return None

    def names(self, path: str, endings: tuple[str, ...]) -> list[str]:
        """Return the names of the files in ``path`` with one of the endings in any case, sorted; there may be none."""
        return [name for name in self.tree.entries(path, FILE) if name.lower().endswith(endings)]

    def missing(self, path: str, message: str, otherwise: str = "") -> None:
        """Report a missing file, or a missing or empty directory, which a nearby archive may hold.

        Args:
            path: missing path.
            message: what is wrong.
            otherwise: alternative to the remedy, to follow it.
        """
        source = self._sources.get(posixpath.basename(path))
        packed = None if source else self.packed(path)
        # If the data set was not found at all, one problem is enough.
        if source or (packed is None and (self.complete or not self._place.nowhere)):
            self.problem(path, message, (f"get it from {source}" if source else self._remedy) + otherwise)
        elif packed is not None and packed.directory not in self._packed:
            self._packed.add(packed.directory)
            here = packed.directory == self.uri(path)
            there, others = ("", "") if here else (f" in {shown(packed.directory)}", f", or {self._remedy}")
            self.problem(path, f"{message}, but {packed}{there}", f"{self.unpacking(packed)}{others}{otherwise}")
        self.complete = False

    def all_unpacked(self, path: str, directories: Sequence[str]) -> None:
        """Report archives in ``path`` that are not unpacked into one of its ``directories``."""
        packed = archives(self.uri(path), self.tree.entries(path, FILE))
        if packed is None or not directories:
            return
        left = [name for name in packed.names if stem(name) not in directories]
        if left:
            message = f"holds {packed}, of which {len(left)} are not unpacked, the first {left[0]}"
            remedy = self.unpacking(Archives(packed.directory, tuple(left)))
            self.problem(path, message, f"{remedy}, or move them away")

    def unpacking(self, packed: Archives) -> str:
        """Return the remedy for archives that may hold missing files."""
        return packed.remedy(self._bare)

    def packed(self, path: str) -> Archives | None:
        """Return the archives nearest to ``path``."""
        return nearest_archives(self.tree, path)

    def _text(self, path: str) -> str | None:
        data = self.read(path)
        if data is None:
            return None
        text, guessed = decoded(data)
        if guessed:
            self.note(f"{path} is not UTF-8 and was read as Latin-1")
        return text

    def _names(self, path: str, kind: bool, ending: str) -> list[str]:
        try:
            names = self._entries(path, kind, (ending,))
        except (NotFound, StorageError) as error:
            self.missing(path, error.reason)
            return []
        if not names:
            what = f"holds no {ending} files" if kind is FILE else "holds no directories"
            self.missing(path, what)
        return names

    def _entries(self, path: str, kind: Kind, endings: tuple[str, ...]) -> list[str]:
        """Return the names in ``path`` with one of the endings. Names that are not UTF-8 and broken links are
        problems."""
        names = [name for name in self.tree.listed(path, kind) if name.lower().endswith(endings)]
        lost = self.tree.listed(path, NEITHER) if kind is FILE else []
        odd = [(name, "its name is not UTF-8", "rename it") for name in names if not is_text(name)]
        odd += [
            (name, "is a broken link, or not a file", "restore the file, or remove it")
            for name in lost
            if name.lower().endswith(endings)
        ]
        for name, message, remedy in odd:
            place = printable(f"{path}/{name}" if path else name)
            self.problem("", f"{place}: {message}", remedy, kind=message)
        return [name for name in names if is_text(name)]
