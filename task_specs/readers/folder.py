"""The folder of a published data set: its lists, its directories, and whatever of them is missing."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra import object_storage
from infra.errors import StorageError
from task_specs.problems import ProblemList
from task_specs.readers.audio_files import DIRECTORY, FILE, AudioFiles, NotFound
from task_specs.readers.table import Table, read_table


class Folder:
    """What a reader sees of a data set. Whatever cannot be found or read is noted as a problem.

    Args:
        root: directory URI.
        problems: where problems are noted.
        remedy: what to do about something that is missing.
    """

    def __init__(self, root: str, problems: ProblemList, remedy: str) -> None:
        self.root = root
        self.complete = True
        self.notes: list[str] = []
        self.audio = AudioFiles(root)
        self._problems = problems
        self._remedy = remedy

    def usable(self) -> bool:
        """Whether there is such a directory."""
        if not object_storage.is_s3(self.root) and not Path(self.root).is_dir():
            others = "" if "'root'" in self._remedy else f", or {self._remedy}"
            self.problem("", "there is no such directory", f"correct 'root'{others}")
            return False
        try:
            self.audio.names("", FILE)
        except (NotFound, StorageError) as error:
            message, _, remedy = str(error).partition("; ")
            self.problem("", message, remedy or "correct 'root'")
            return False
        return True

    def problem(self, path: str, message: str, remedy: str, *, line: int | None = None, field: str = "") -> None:
        """Notes what is wrong with a file, or a line of it, that says which recordings there are."""
        self.complete = False
        kind = "" if line is None else remedy
        self._problems.add(self.uri(path), field, message, remedy, line=line, kind=kind)

    def uri(self, path: str) -> str:
        """URI of a path below the root."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def first(self, *paths: str) -> str:
        """The first of the ``paths`` that is there; the first of all if none is.

        Archives unpack with or without a directory of their own, and people move their content.
        """
        there = (path for path in paths if not path or self.audio.has(path, DIRECTORY) or self.audio.has(path, FILE))
        return next(there, paths[0])

    def above(self, marker: str, *directories: str) -> str:
        """Where ``marker`` is: ``""`` for the root, or one of the ``directories`` with a slash; the root if nowhere."""
        return self.first(marker, *(f"{directory}/{marker}" for directory in directories)).removesuffix(marker)

    def directories(self, path: str = "") -> list[str]:
        """Names of the directories in ``path``, sorted; one that is missing or holds none is a problem."""
        return self._names(path, DIRECTORY, "")

    def files(self, path: str, ending: str = ".wav") -> list[str]:
        """Names of the files in ``path`` with this ending in any case, sorted; as `directories`."""
        return self._names(path, FILE, ending)

    def below(self, path: str, endings: tuple[str, ...] = (".wav",)) -> list[str]:
        """Paths of all files below ``path`` with one of these endings, relative to it, sorted."""
        found: list[str] = []
        try:
            pending = [""]
            while pending:
                inside = pending.pop()
                at = "/".join(part for part in (path, inside) if part)
                prefix = f"{inside}/" if inside else ""
                found += [prefix + name for name in self.audio.names(at, FILE) if name.lower().endswith(endings)]
                pending += [prefix + name for name in self.audio.names(at, DIRECTORY)]
        except (NotFound, StorageError) as error:
            self.problem(path, str(error).partition("; ")[0], self._remedy)
        return sorted(found)

    def lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Every line of a text file that is not blank, with its number from 1."""
        data = self.read(path)
        if data is None:
            return
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.problem(path, "is not UTF-8 text", "get the file anew", line=line)
            return
        for number, line_text in enumerate(text.split("\n"), start=1):
            if line_text.strip():
                yield number, line_text.rstrip("\r")

    def fields(self, path: str, count: int, delimiter: str | None = None) -> Iterator[tuple[int, list[str]]]:
        """The fields of every line, of which there must be ``count``; by default white space parts them."""
        for number, line in self.lines(path):
            fields = [field.strip() for field in line.split(delimiter)]
            if len(fields) == count:
                yield number, fields
            else:
                self.problem(path, f"has {len(fields)} fields instead of {count}", "correct the line", line=number)

    def table(self, path: str, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
        """The rows of a CSV or TSV file that has at least these ``columns``, with their lines."""
        data = self.read(path)
        table: Table | None = None if data is None else read_table(self.uri(path), data, self._problems)
        if table is None:
            self.complete = False
            return
        self.complete = self.complete and table.complete
        missing = [name for name in columns if name not in table.columns]
        for name in missing:
            self.problem(path, "there is no such column", "get the file anew", line=1, field=name)
        if not missing:
            places = [(name, table.columns.index(name)) for name in columns]
            for number, row in table.rows:
                yield number, {name: str(row[place]) for name, place in places}

    def read(self, path: str) -> bytes | None:
        """The content of a file; ``None`` if it cannot be read, which is noted."""
        try:
            return object_storage.read_bytes(self.audio.find(path))
        except NotFound:
            self.problem(path, "there is no such file", self._remedy)
        except StorageError as error:
            self.problem(path, str(error).partition("; ")[0], self._remedy)
        return None

    def seconds(self, path: str) -> float | None:
        """Length of a recording; ``None`` if it cannot be read or has none in its header, which is noted."""
        from task_specs.audio_container.recording import open_recording
        from task_specs.audio_container.unusable import UnusableAudio

        data = self.read(path)
        if data is None:
            return None
        try:
            with open_recording(io.BytesIO(data)) as recording:
                if recording.seconds is not None:
                    return recording.seconds
            self.problem(path, "does not say how long it is", self._remedy)
        except UnusableAudio as error:
            self.problem(path, f"is not audio that can be decoded ({error.detail.rpartition('; ')[0]})", self._remedy)
        return None

    def _names(self, path: str, kind: bool, ending: str) -> list[str]:
        try:
            names = [name for name in self.audio.names(path, kind) if name.lower().endswith(ending)]
        except (NotFound, StorageError) as error:
            self.problem(path, str(error).partition("; ")[0], self._remedy)
            return []
        if not names:
            what = f"holds no {ending} files" if kind is FILE else "holds no directories"
            self.problem(path, what, self._remedy)
        return names
