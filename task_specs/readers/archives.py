"""Archives that were downloaded but not unpacked, and the commands that unpack them."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from infra import object_storage
from task_specs.problems import shown
from task_specs.readers.audio_files import DIRECTORY, FILE
from task_specs.readers.tree import Tree

_TAR = r"tar|tgz|tbz2?|txz|tar\.(?:gz|bz2|xz)"
_ARCHIVE = re.compile(rf"(?P<stem>.+)\.(?P<ending>{_TAR}|zip|7z|rar)", re.IGNORECASE)
# Names of pieces by split, 7-Zip and VoxCeleb: x.zip.001, x.tar.gz.aa, x.tgz.partaa, x_partaa.
_PIECE = re.compile(r"(?P<whole>.+?)(?P<mark>[._-]part-?|[.-])(?P<place>[a-c][a-z]|\d{2,3})", re.IGNORECASE)
_TOOLS = {".zip": "unzip -q", ".7z": "7z x", ".rar": "unrar x"}
_DISK = re.compile(r"(?P<stem>.+)\.z\d{2}", re.IGNORECASE)


@dataclass(frozen=True)
class Archives:
    """Archives in a directory.

    Attributes:
        directory: URI of the directory.
        names: names of archives and pieces of archives, sorted.
    """

    directory: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        if len(self.names) == 1:
            return self.names[0]
        endings = sorted({_ending(name) for name in self.names})
        return f"{len(self.names)} archives ({', '.join(endings)})"

    def command(self, bare: Collection[str] = ()) -> str:
        """Return the command that unpacks all of them.

        Args:
            bare: stems of archives without a top-level directory, for which one is made.
        """
        if object_storage.is_s3(self.directory):
            return "in a copy, and upload what it holds"
        return " && ".join([f"cd {shlex.quote(shown(self.directory))}", *_commands(self.names, bare)])

    def remedy(self, bare: Collection[str] = ()) -> str:
        """Return the remedy: unpack them with the `command`."""
        return f"unpack {'it' if len(self.names) == 1 else 'them'}: {self.command(bare)}"


def archives(directory: str, names: Sequence[str]) -> Archives | None:
    """Return the archives among the files of a directory; ``None`` if there are none."""
    packed = tuple(name for name in sorted(names) if _ARCHIVE.fullmatch(name) or _whole(name) or _DISK.fullmatch(name))
    return Archives(directory, packed) if packed else None


def nearest_archives(tree: Tree, path: str) -> Archives | None:
    """Return the archives in ``path``, in the nearest directory above it that has some, or in one below the root."""
    directories = [path]
    while directories[-1] not in ("", "/"):
        directories.append(posixpath.dirname(directories[-1]))
    directories += tree.entries("", DIRECTORY)
    found = (archives(tree.uri(directory), tree.entries(directory, FILE)) for directory in directories)
    return next(filter(None, found), None)


def _commands(names: Sequence[str], bare: Collection[str]) -> list[str]:
    whole = [name for name in names if _ARCHIVE.fullmatch(name)]
    disks = sorted({match["stem"] for name in names if (match := _DISK.fullmatch(name))})
    pieces = {joined: _pattern(name) for name in names if (joined := _whole(name)) and joined not in whole}
    commands = []
    for joined, pattern in pieces.items():
        if joined.lower().endswith(".7z"):
            # 7-Zip finds the other pieces by itself.
            commands.append(f"7z x {shlex.quote(joined)}.001")
        else:
            commands += [f"cat {pattern} > {shlex.quote(joined)}", *_unpack([joined], bare)]
    for disk in disks:
        joined = f"{disk}-whole.zip"
        commands += [f"zip -s 0 {shlex.quote(disk + '.zip')} --out {shlex.quote(joined)}", *_unpack([joined], bare)]
    return commands + _unpack([name for name in whole if stem(name) not in disks], bare)


def _unpack(names: Sequence[str], bare: Collection[str]) -> list[str]:
    commands = []
    of_ending: dict[str, list[str]] = {}
    for name in names:
        if stem(name) in bare:
            into = shlex.quote(stem(name))
            commands.append(f"mkdir -p {into} && tar -xf {shlex.quote(name)} -C {into}")
        else:
            of_ending.setdefault(_ending(name), []).append(name)
    for ending, alike in of_ending.items():
        tool = _TOOLS.get(ending.lower(), "tar -xf")
        if len(alike) == 1:
            commands.append(f"{tool} {shlex.quote(alike[0])}")
        else:
            commands.append(f'for f in *{ending}; do {tool} "$f"; done')
    return commands


def _whole(name: str) -> str | None:
    """Return the name of the archive that a file is a piece of."""
    match = _PIECE.fullmatch(name)
    if match is None:
        return None
    if _ARCHIVE.fullmatch(match["whole"]):
        return match["whole"]
    return f"{match['whole']}.zip" if "part" in match["mark"].lower() else None


def _pattern(name: str) -> str:
    """Return a shell pattern for all pieces of an archive, in order."""
    match = _PIECE.fullmatch(name)
    if match is None:
        return shlex.quote(name)
    return shlex.quote(match["whole"] + match["mark"]) + ("[0-9]*" if match["place"].isdigit() else "??")


def stem(name: str) -> str:
    """Return the name of an archive without its ending, usually that of the directory in it."""
    match = _ARCHIVE.fullmatch(name)
    return name if match is None else match["stem"]


def _ending(name: str) -> str:
    match = _ARCHIVE.fullmatch(_whole(name) or name)
    return "." + (match["ending"] if match else name.rpartition(".")[2])
