"""One kind of stored files under damage, and what must hold of whatever becomes of them."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

from benchmarks.fuzzing.damages import damage
from benchmarks.fuzzing.recordings import Broken
from benchmarks.fuzzing.stored_kind import Files, Odd, StoredKind
from infra.errors import SpeechPromptError
from infra.printable import printable_lines

_SECONDS = 10.0
_FIXED_BYTES = 96 << 20
"""Memory that reading may take however small the files are; four times the files come on top."""
_LONGEST_MESSAGE = 2_000
_VAST_BYTES = 1 << 40


class _Hung(BaseException):
    """No error that a reader could take for one of the disk."""


class StoredPool:
    """Two things of one kind, of which one is damaged again and again.

    Args:
        kind: what is damaged.
        directory: an empty one, for the damaged files.

    Attributes:
        whole: the files of the one, as they were written.
        others: those of the other.
    """

    def __init__(self, kind: StoredKind, directory: Path) -> None:
        self._kind, self._directory = kind, directory
        self._there: Files = {}
        self.whole, self.others = (self._written(number) for number in range(2))
        self._lie(self.whole)
        self._wanted = kind.read(directory)
        if self._wanted is None or not kind.accepts(self._wanted, self._wanted):
            raise Broken("what was written whole is not read")

    def _written(self, number: int) -> Files:
        place = self._directory / str(number)
        place.mkdir()
        self._kind.write(place, number)
        files: Files = {
            path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()
        }
        shutil.rmtree(place)
        return files

    def damaged(self, random: Random) -> tuple[Files, list[str]]:
        """Files to be read, and what was done to them."""
        files: Files = dict(self.whole)
        done = damage(files, self.others, random)
        if self._kind.forge is not None:
            self._kind.forge(files)
        return files, done

    def check(self, files: Files) -> str:
        """What becomes of them in a word.

        Raises:
            Broken: something does not hold.
        """
        self._lie(files)
        size = sum(len(data) for data in files.values() if isinstance(data, bytes))
        before = _resident()
        try:
            with _interrupted_after(_SECONDS):
                found = self._kind.read(self._directory)
        except self._kind.refusals as error:
            _check_message(error)
            found, outcome = None, "refused"
        except _Hung as error:
            raise Broken(f"it took more than {_SECONDS:.0f} s, in\n{_where(error)}") from error
        else:
            outcome = "accepted" if found is not None else "not there"
        if (grown := _peak() - before) > 4 * size + _FIXED_BYTES:
            raise Broken(f"{size} bytes took {grown >> 20} MiB")
        if found is not None and not self._kind.accepts(found, self._wanted):
            raise Broken(f"believed: {str(found)[:500]}")
        return outcome

    def _lie(self, files: Files) -> None:
        """Put the files there, and nothing else; what lies there as it should is left."""
        if self._there.keys() != files.keys():
            for entry in self._directory.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            self._there = {}
        for name, data in files.items():
            if (old := self._there.get(name)) is not data:
                _put(self._directory / name, data, instead_of=old)
        self._there = dict(files)


def _put(path: Path, data: bytes | Odd, *, instead_of: bytes | Odd | None) -> None:
    if instead_of is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif instead_of is Odd.DIRECTORY:
        path.rmdir()
    elif isinstance(instead_of, Odd) or isinstance(data, Odd):
        path.unlink()
    match data:
        case bytes():
            path.write_bytes(data)
        case Odd.DIRECTORY:
            path.mkdir()
        case Odd.FIFO:
            os.mkfifo(path)
        case Odd.LOOP:
            path.symlink_to(path.name)
        case Odd.DEVICE:
            path.symlink_to("/dev/zero")
        case Odd.VAST:
            path.touch()
            os.truncate(path, _VAST_BYTES)


def _check_message(error: Exception) -> None:
    text = str(error)
    if not text or len(text) > _LONGEST_MESSAGE or printable_lines(text) != text:
        raise Broken(f"its message of {len(text)} characters cannot be shown: {ascii(text)[:300]}") from error
    if isinstance(error, SpeechPromptError) and "; " not in text:
        raise Broken(f"its message names no remedy: {text}") from error


def _where(error: BaseException) -> str:
    return "".join(traceback.format_tb(error.__traceback__)[-3:])


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise _Hung

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _resident() -> int:
    """Bytes of this process that are in memory; from here on the peak is counted."""
    Path("/proc/self/clear_refs").write_bytes(b"5")
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * mmap.PAGESIZE


def _peak() -> int:
    status = Path("/proc/self/status").read_bytes()
    return int(status.partition(b"VmHWM:")[2].split(None, 1)[0]) << 10
