"""Finds the audio files of a manifest below their root, with one listing a directory or S3 root."""

from __future__ import annotations

import os
import posixpath
import unicodedata

from infra import object_storage
from infra.errors import InputError

FILE, DIRECTORY = True, False


class NotFound(InputError):
    """An audio path that cannot be used.

    Attributes:
        message: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        self.message, self.remedy = message, remedy
        super().__init__(f"{message}; {remedy}")


class AudioFiles:
    """The files below one directory or S3 prefix.

    A name is matched exactly first. If there is none, one that differs only in Unicode normalisation is
    taken: ``ž`` is one code point in most manifests and two in file names that came through macOS.

    Args:
        root: directory URI that no path may leave.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._listing = _S3Listing(root) if object_storage.is_s3(root) else _DiskListing(root)
        self._found: dict[str, str] = {}

    def find(self, path: str) -> str:
        """URI of the file that ``path``, relative to the root or absolute, names.

        Raises:
            NotFound: the path leaves the root, or no readable file is there.
            StorageError: an S3 root that cannot be listed.
        """
        uri = self._found.get(path)
        if uri is None:
            uri = self._found[path] = f"{self.root.rstrip('/')}/{self._name(self._relative(path))}"
        return uri

    def names(self, directory: str, kind: bool) -> list[str]:
        """Names of the files or directories in ``directory``, relative to the root, sorted; without hidden ones.

        Raises:
            NotFound: there is no such directory, or it cannot be read.
            StorageError: an S3 root that cannot be listed.
        """
        spelled = self._name(posixpath.normpath(directory), DIRECTORY) if directory else ""
        entries = self._listing.entries(spelled)
        return sorted(name for name, found in entries.items() if found is kind and not name.startswith("."))

    def has(self, path: str, kind: bool) -> bool:
        """Whether there is a file or directory of this name."""
        try:
            self._name(posixpath.normpath(path), kind)
        except NotFound:
            return False
        return True

    def _relative(self, path: str) -> str:
        inside = path.removeprefix(self.root.rstrip("/") + "/")
        relative = posixpath.normpath(inside)
        if relative.startswith(("/", "../")) or relative in (".", "..") or object_storage.is_s3(inside):
            raise NotFound(f"{path!r} is outside the root {self.root}", "correct the path, or set 'root'")
        return relative

    def _name(self, relative: str, last: bool = FILE) -> str:
        """The own spelling of ``relative``, which is a file or, if ``last`` says so, a directory."""
        spelled = ""
        parts = relative.split("/")
        for depth, part in enumerate(parts, start=1):
            kind = last if depth == len(parts) else DIRECTORY
            name = self._listing.entry(spelled, part, kind)
            if name is None:
                hint = "write / between directories" if "\\" in relative else "correct the path, or set 'root'"
                raise NotFound(f"there is no {'file' if last else 'directory'} {relative!r} in {self.root}", hint)
            spelled = f"{spelled}/{name}" if spelled else name
        return spelled


class _Listing:
    """Names and kinds of the entries of directories, each directory read once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._directories: dict[str, dict[str, bool]] = {}
        self._normal: dict[str, dict[tuple[str, bool], str]] = {}

    def entry(self, directory: str, name: str, kind: bool) -> str | None:
        """The name as it is spelled in ``directory``, or ``None`` if nothing of this kind has it."""
        entries = self.entries(directory)
        if entries.get(name) is kind:
            return name
        normal = self._normal.get(directory)
        if normal is None:
            normal = self._normal[directory] = {
                (unicodedata.normalize("NFC", entry), entries[entry]): entry for entry in sorted(entries)
            }
        return normal.get((unicodedata.normalize("NFC", name), kind))

    def entries(self, directory: str) -> dict[str, bool]:
        """Whether each entry of ``directory`` is a file."""
        entries = self._directories.get(directory)
        if entries is None:
            entries = self._directories[directory] = self._read(directory)
        return entries

    def _read(self, directory: str) -> dict[str, bool]:
        raise NotImplementedError


class _DiskListing(_Listing):
    def _read(self, directory: str) -> dict[str, bool]:
        path = f"{self.root.rstrip('/')}/{directory}"
        try:
            with os.scandir(path) as entries:
                return {entry.name: FILE if entry.is_file() else DIRECTORY for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise NotFound(f"the directory {path} cannot be read ({error.strerror})", "make it readable") from error


class _S3Listing(_Listing):
    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._listed = False

    def _read(self, directory: str) -> dict[str, bool]:
        if not self._listed:
            self._listed = True
            for key in object_storage.list_files(self.root):
                above, _, name = key.rpartition("/")
                self._directories.setdefault(above, {})[name] = FILE
                while above:
                    above, _, name = above.rpartition("/")
                    self._directories.setdefault(above, {}).setdefault(name, DIRECTORY)
        return self._directories.get(directory, {})
