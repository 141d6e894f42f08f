"""Finding audio files below their root, with one listing per directory or S3 root."""

from __future__ import annotations

import os
import posixpath
import unicodedata

from infra import object_storage
from infra.errors import InputError
from infra.printable import is_text, printable
from task_specs.readers.path_hints import not_below, spelled_alike

FILE, DIRECTORY, NEITHER = True, False, None
"""Kinds of directory entries; neither are broken links, sockets and the like."""
Kind = bool | None

NOT_DATA = ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__")
"""Directories that systems and tools make."""
_OLD_ENCODINGS = ("cp1252", "cp437", "cp850", "cp1250", "cp1251", "cp866", "shift_jis", "gb18030", "big5", "euc_kr")
_LONGEST_SHOWN = 200
_MOST_SEARCHED = 20
"""Most directories below the root in which a missing file is searched for."""


class NotFound(InputError):
    """An audio path that cannot be used.

    Attributes:
        message: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)


class AudioFiles:
    """Files below a directory or S3 prefix.

    Names are matched exactly first, then up to Unicode normalisation: ``ž`` is one code point in most manifests, but
    two in file names from macOS.

    Args:
        root: directory URI that no path may leave.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._listing = _S3Listing(root) if object_storage.is_s3(root) else _DiskListing(root)
        self._found: dict[str, str] = {}

    def find(self, path: str) -> str:
        """Return the URI of the file at ``path``, relative to the root or absolute.

        Raises:
            NotFound: the path leaves the root, or there is no readable file.
            StorageError: an S3 root cannot be listed.
        """
        uri = self._found.get(path)
        if uri is None:
            uri = self._found[path] = f"{self.root.rstrip('/')}/{self._name(self._relative(path))}"
        return uri

    def names(self, directory: str, kind: Kind) -> list[str]:
        """Return the names of the entries of a kind in ``directory``, which is relative to the root, sorted, without
        hidden ones and ``NOT_DATA``. Names that are not UTF-8 hold surrogates.

        Raises:
            NotFound: there is no such directory, or it cannot be read.
            StorageError: an S3 root cannot be listed.
        """
        spelled = self._name(posixpath.normpath(directory), DIRECTORY) if directory else ""
        entries = self._listing.entries(spelled)
        return sorted(
            name for name, found in entries.items() if found is kind and name[:1] != "." and name not in NOT_DATA
        )

    def identity(self, directory: str) -> object:
        """Return a value that is equal for all names of a local directory, to detect circular links."""
        return self._listing.identity(self._name(posixpath.normpath(directory), DIRECTORY) if directory else "")

    def has(self, path: str, kind: Kind) -> bool:
        """Return whether there is a file or directory of this name."""
        return self._walk(posixpath.normpath(path), kind)[1] is None

    def _relative(self, path: str) -> str:
        inside = path.removeprefix(self.root.rstrip("/") + "/")
        if "://" in inside and not object_storage.is_s3(inside):
            raise NotFound(f"{_shown(path)} is an address, not a path", not_below(path) or "write the file's path")
        relative = posixpath.normpath(inside)
        if relative.startswith(("/", "../")) or relative in (".", "..") or object_storage.is_s3(inside):
            remedy = not_below(path) or "correct the path, or set 'root'"
            raise NotFound(f"{_shown(path)} is outside the root {self.root}", remedy)
        return relative

    def _name(self, relative: str, last: Kind = FILE) -> str:
        """Return the actual spelling of ``relative``, a file or, by ``last``, a directory.

        Raises:
            NotFound: it does not exist.
        """
        spelled, missing = self._walk(relative, last)
        if missing is not None:
            raise self._not_found(relative, spelled, missing, last)
        return spelled

    def _walk(self, relative: str, last: Kind) -> tuple[str, str | None]:
        """Return the actual spelling of ``relative`` as far as it exists, and the first part that does not."""
        spelled = ""
        parts = relative.split("/")
        for depth, part in enumerate(parts, start=1):
            kind = last if depth == len(parts) else DIRECTORY
            name = self._listing.entry(spelled, part, kind)
            if name is None:
                return spelled, part
            spelled = f"{spelled}/{name}" if spelled else name
        return spelled, None

    def _not_found(self, relative: str, directory: str, part: str, kind: Kind) -> NotFound:
        message = f"there is no {'file' if kind else 'directory'} {_shown(relative)} in {self.root}"
        entries = self._listing.entries(directory)
        if part in entries and entries[part] is NEITHER:
            message = f"{_shown(relative)} in {self.root} is a broken link, or not a file"
            return NotFound(message, "restore the file")
        odd = next((name for name in self._listing.odd(directory) if _means(name, part)), None)
        if odd is not None:
            return NotFound(f"{message}, but {printable(odd)}, whose name is not UTF-8", "rename the file")
        if part in entries and entries[part] is DIRECTORY and kind is FILE:
            return NotFound(message, "it is a directory; name a file in it")
        hint = not_below(relative) or self._elsewhere(relative, directory, part)
        return NotFound(message, hint or "correct the path, or set 'root'")

    def _elsewhere(self, relative: str, directory: str, part: str) -> str | None:
        """Return a remedy that says where a missing file may be."""
        if alike := self._listing.alike(directory, part):
            rest = relative.split("/")[len(directory.split("/")) + 1 if directory else 1 :]
            return f"did you mean {_shown('/'.join(filter(None, [directory, alike, *rest])))}?"
        name = object_storage.basename(self.root)
        if not directory and part == name and self.has(relative.removeprefix(f"{name}/"), FILE):
            return f"the root already ends in {name!r}; leave it out of the paths"
        if directory:
            return None
        below = [entry for entry, kind in self._listing.entries("").items() if kind is DIRECTORY][:_MOST_SEARCHED]
        there = next((entry for entry in sorted(below) if self.has(f"{entry}/{relative}", FILE)), None)
        return there and f"add {'/' + there!r} to 'root', where it is"


def _means(odd: str, name: str) -> bool:
    """Return whether a file name that is not UTF-8 is ``name`` in an encoding of old archives."""
    data = odd.encode(errors="surrogateescape")
    meant = {unicodedata.normalize("NFC", data.decode(encoding, errors="replace")) for encoding in _OLD_ENCODINGS}
    return unicodedata.normalize("NFC", name) in meant


def _shown(path: str) -> str:
    return repr(path if len(path) <= _LONGEST_SHOWN else f"{path[:_LONGEST_SHOWN]}...")


class _Listing:
    """Names and kinds of directory entries; each directory is read once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._directories: dict[str, dict[str, Kind]] = {}
        self._normal: dict[str, dict[tuple[str, Kind], str]] = {}
        self._alike: dict[str, dict[str, str]] = {}
        self._odd: dict[str, list[str]] = {}

    def entry(self, directory: str, name: str, kind: Kind) -> str | None:
        """Return a name as spelled in ``directory``; ``None`` if no entry of this kind has it."""
        entries = self.entries(directory)
        if name in entries and entries[name] is kind:
            return name
        normal = self._normal.get(directory)
        if normal is None:
            normal = self._normal[directory] = {
                (unicodedata.normalize("NFC", entry), entries[entry]): entry for entry in sorted(entries)
            }
        return normal.get((unicodedata.normalize("NFC", name), kind))

    def entries(self, directory: str) -> dict[str, Kind]:
        """Return the kind of each entry of ``directory``."""
        entries = self._directories.get(directory)
        if entries is None:
            entries = self._directories[directory] = self._read(directory)
        return entries

    def odd(self, directory: str) -> list[str]:
        """Return the names in ``directory`` that are not UTF-8, sorted."""
        if directory not in self._odd:
            self._odd[directory] = sorted(name for name in self.entries(directory) if not is_text(name))
        return self._odd[directory]

    def alike(self, directory: str, name: str) -> str | None:
        """Return a name in ``directory`` that may be meant by ``name``."""
        if directory not in self._alike:
            found: dict[str, str] = {}
            for entry in sorted(filter(is_text, self.entries(directory))):
                for key in spelled_alike(entry):
                    found.setdefault(key, entry)
            self._alike[directory] = found
        return next((self._alike[directory][key] for key in spelled_alike(name) if key in self._alike[directory]), None)

    def identity(self, directory: str) -> object:
        """Return a value that is equal for all names of a directory."""
        return directory

    def _read(self, directory: str) -> dict[str, Kind]:
        raise NotImplementedError


class _DiskListing(_Listing):
    def identity(self, directory: str) -> object:
        try:
            status = os.stat(f"{self.root.rstrip('/')}/{directory}")  # noqa: PTH116 (a path may end in a space)
        except OSError:
            # Reported when the directory is read.
            return directory
        return status.st_dev, status.st_ino

    def _read(self, directory: str) -> dict[str, Kind]:
        path = f"{self.root.rstrip('/')}/{directory}"
        try:
            with os.scandir(path) as entries:
                return {entry.name: _kind(entry) for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise NotFound(f"the directory {path} cannot be read ({error.strerror})", "make it readable") from error


def _kind(entry: os.DirEntry[str]) -> Kind:
    try:
        return FILE if entry.is_file() else DIRECTORY if entry.is_dir() else NEITHER
    except OSError:
        # A link to itself.
        return NEITHER


class _S3Listing(_Listing):
    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._listed = False

    def _read(self, directory: str) -> dict[str, Kind]:
        if not self._listed:
            self._listed = True
            for key in object_storage.list_files(self.root):
                above, _, name = key.rpartition("/")
                self._directories.setdefault(above, {})[name] = FILE
                while above:
                    above, _, name = above.rpartition("/")
                    # Some tools write an object with a directory's name.
                    self._directories.setdefault(above, {})[name] = DIRECTORY
        return self._directories.get(directory, {})
