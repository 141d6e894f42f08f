"""A directory tree as people leave it: names in another case, a directory around everything."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Sequence

from infra.errors import StorageError
from task_specs.readers.audio_files import DIRECTORY, FILE, AudioFiles, Kind, NotFound

_LEVELS = 2
_LOOKED_INTO = 200
"""Directories of one level, at most, that are searched."""


class Tree:
    """The directories and files below a root.

    Args:
        root: directory URI.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.audio = AudioFiles(root)
        self._folded: dict[tuple[str, Kind], dict[str, list[str]]] = {}

    def uri(self, path: str) -> str:
        """URI of a path below the root."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def entries(self, directory: str, kind: Kind) -> list[str]:
        """Names of the files or directories in a directory, sorted; none where it is missing or cannot be read."""
        try:
            return self.listed(directory, kind)
        except (NotFound, StorageError):
            return []

    def listed(self, directory: str, kind: Kind) -> list[str]:
        """As `entries`.

        Raises:
            NotFound: there is no such directory, or it cannot be read.
            StorageError: an S3 root that cannot be listed.
        """
        own = self.spelled(directory, DIRECTORY)
        return self.audio.names(directory if own is None else own, kind)

    def spelled(self, path: str, kind: Kind) -> str | None:
        """The own spelling of a path, whose case may differ where one entry alone can be meant; ``None`` if nothing of
        this kind is there."""
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
        """The entries of a directory whose names are this one but for case."""
        found = self._folded.get((directory, kind))
        if found is None:
            found = self._folded[directory, kind] = {}
            for entry in self.entries(directory, kind):
                found.setdefault(folded(entry), []).append(entry)
        return found.get(folded(name), [])

    def places(self, paths: Sequence[str]) -> list[tuple[str, str]]:
        """Where the first of the ``paths`` is that is anywhere: in the root, or else one level below it, or two.

        Returns:
            Each directory of that level that holds one, with a slash (``""`` for the root), and the path in it.
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
        """The own spelling of the first of the ``paths`` that is in the directory ``at``, given with a slash."""
        for path in paths:
            for kind in (DIRECTORY, FILE):
                own = self.spelled(f"{at}{path}", kind)
                if own is not None:
                    return own.removeprefix(at)
        return None


def folded(name: str) -> str:
    """The name without differences of case and of Unicode normalisation."""
    return unicodedata.normalize("NFC", name).casefold()
