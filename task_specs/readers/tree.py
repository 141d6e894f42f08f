"""A directory tree with tolerance for names in another case and for additional top-level directories."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Callable, Sequence

from infra import object_storage
from infra.errors import StorageError
from task_specs.problems import shown
from task_specs.readers.audio_files import DIRECTORY, FILE, AudioFiles, Kind, NotFound

_LEVELS = 2
_LOOKED_INTO = 200
"""Most directories of a level that are searched."""


class Tree:
    """Directories and files below a root.

    Args:
        root: directory URI.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.audio = AudioFiles(root)
        self._folded: dict[tuple[str, Kind], dict[str, list[str]]] = {}

    def uri(self, path: str) -> str:
        """Return the URI of a path below the root."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def entries(self, directory: str, kind: Kind) -> list[str]:
        """Return the names of the files or directories in a directory, sorted; empty if it is missing or unreadable."""
        try:
            return self.listed(directory, kind)
        except (NotFound, StorageError):
            return []

    def listed(self, directory: str, kind: Kind) -> list[str]:
        """Return the names like `entries`, but raise errors.

        Raises:
            NotFound: there is no such directory, or it cannot be read.
        StorageError: an S3 root cannot be listed.
        """
        own = self.spelled(directory, DIRECTORY)
        return self.audio.names(directory if own is None else own, kind)

    def spelled(self, path: str, kind: Kind) -> str | None:
        """Return the actual spelling of a path, whose case may differ if it is not ambiguous; ``None`` if there is no
        such entry of this kind."""
        if not path or self.audio.has(path, kind):
            return path
        own = ""
        parts = posixpath.normpath(path).split("/")
        for depth, part in enumerate(parts, start=1):
            names = self.alike(own, part, kind if depth == len(parts) else DIRECTORY)
            if len(names) != 1 and part not in names:
                return None
            own = posixpath.join(own, part if part in names else names[0])
        return own

    def alike(self, directory: str, name: str, kind: Kind) -> list[str]:
        """Return the entries of a directory whose names differ from ``name`` only in case."""
        found = self._folded.get((directory, kind))
        if found is None:
            found = self._folded[directory, kind] = {}
            for entry in self.entries(directory, kind):
                found.setdefault(folded(entry), []).append(entry)
        return found.get(folded(name), [])

    def places(self, paths: Sequence[str]) -> list[tuple[str, str]]:
        """Find the first of the ``paths`` that exists, in the root or up to two levels below it.

        Returns:
        Each directory of the first level that holds one, with a slash (``""`` for the root), and the path in it.
        """
        level = [""]
        for _ in range(_LEVELS + 1):
            found = [(at, path) for at in level if (path := self.one_of(paths, at)) is not None]
            if found:
                return found
            level = [f"{at}{name}/" for at in level for name in self.entries(at.rstrip("/"), DIRECTORY)]
            if len(level) > _LOOKED_INTO:
                break
        return []

    def one_of(self, paths: Sequence[str], at: str = "") -> str | None:
        """Return the actual spelling of the first of the ``paths`` in the directory ``at``, which ends with a slash."""
        for path in paths:
            for kind in (DIRECTORY, FILE):
                own = self.spelled(f"{at}{path}", kind)
                if own is not None:
                    return own.removeprefix(at)
        return None


def folded(name: str) -> str:
    """Return a name without case, in Unicode normal form."""
    return unicodedata.normalize("NFC", name).casefold()


class Place:
    """Finds a data set by its files and directories.

    Archives have a top-level directory or none, and users name any directory above or inside the data set. So files
    that are not in the root are searched for up to two levels below it, and above it if the root is one of the data
    set's own directories; both are noted.

    Args:
        root: directory URI.
        parts: directories of the data set, to recognise a root that is one of them.
        note: function called with notes.
        problem: function called with a problem of the root, and the remedy.

    Attributes:
        tree: files below the root, or below the directory above it that is used instead.
        nowhere: whether nothing of the data set was found so far.
    """

    def __init__(
        self, root: str, parts: Sequence[str], *, note: Callable[[str], None], problem: Callable[[str, str], None]
    ) -> None:
        self.tree = Tree(root.rstrip("/") or "/")
        self.nowhere = False
        self._parts, self._note, self._problem = parts, note, problem
        self._found: dict[tuple[str, ...], tuple[str, str]] = {}

    def of(self, paths: tuple[str, ...]) -> tuple[str, str]:
        """Return the directory, with a slash, that holds one of the ``paths``, and the path as spelled there; the root
        and the first path if there is none."""
        if paths not in self._found:
            place = self._search(paths)
            if place is None and self._leave(paths):
                place = self._search(paths)
            if place is None:
                self.nowhere = not self._found
                return "", paths[0]
            self._found[paths] = place
            self.nowhere = False
        return self._found[paths]

    def _search(self, paths: Sequence[str]) -> tuple[str, str] | None:
        found = self.tree.places(paths)
        if len(found) > 1:
            where = " and ".join(at for at, _ in found)
            self._problem(f"holds this data set more than once, in {where}", "name one of them as 'root'")
        if found and found[0][0]:
            self._note(f"read from {found[0][0]}")
        return found[0] if found else None

    def _leave(self, paths: Sequence[str]) -> bool:
        """Use a directory above the root if that holds one of the ``paths``; return whether it does."""
        inner = self.tree
        if object_storage.is_s3(inner.root) or self._found:
            return False
        for part in self._parts:
            if folded(inner.root).endswith(folded(f"/{part}")):
                outer = Tree(inner.root[: -len(part) - 1] or "/")
                if outer.one_of(paths) is not None:
                    self.tree = outer
                    self._note(f"read from {shown(outer.root)}, since the root is its {part}/")
                    return True
        return False
