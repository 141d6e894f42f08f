"""Counts of files that are not recordings of a label, for notes."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

MOST_LISTED = 5
NOTHING = (".ds_store", "thumbs.db", "desktop.ini")
"""Files that operating systems make."""


def listed(names: Sequence[str]) -> str:
    """Return the first names in quotes, and the number of others."""
    shown = [repr(name) for name in names[:MOST_LISTED]]
    if len(names) > MOST_LISTED:
        return f"{', '.join(shown)} and {len(names) - MOST_LISTED} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


class LeftOut:
    """Files that the reader of folders leaves out.

    Args:
        endings: endings of the files that are read.

    Attributes:
        loose: paths of recordings outside the labels' directories.
        beside: number of recordings in each directory beside the splits.
    """

    def __init__(self, endings: Sequence[str]) -> None:
        self.loose: list[str] = []
        self.beside: dict[str, int] = {}
        self._endings = endings
        self._found: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, label: str, paths: Iterable[str]) -> None:
        """Count files with other endings in the directory of a label."""
        for ending, count in _by_ending(paths).items():
            self._found[ending][label] += count

    def counted(self, paths: Iterable[str]) -> str:
        """Return the numbers of files by ending: ``8 .m4a, 1 .txt``."""
        return ", ".join(f"{count} {ending}" for ending, count in _by_ending(paths).most_common(MOST_LISTED))

    def notes(self) -> list[str]:
        """Return a sentence for each kind of file that was left out."""
        notes = []
        if self._found:
            most = sorted(self._found.items(), key=lambda entry: (-entry[1].total(), entry[0]))
            each = [f"{ending} {counts.total()} ({_shares(counts)})" for ending, counts in most[:MOST_LISTED]]
            more = [f"{len(most) - MOST_LISTED} more endings"] if len(most) > MOST_LISTED else []
            taken = f"{', '.join(self._endings[:-1])} or {self._endings[-1]}"
            notes.append(f"left out because they do not end in {taken}: {', '.join(each + more)}")
        if self.loose:
            notes.append(
                f"{len(self.loose)} recordings left out because they are in no label's directory: {listed(self.loose)}"
            )
        if self.beside:
            each = [f"{name!r} ({count} recordings)" for name, count in list(self.beside.items())[:MOST_LISTED]]
            more = [f"{len(self.beside) - MOST_LISTED} more"] if len(self.beside) > MOST_LISTED else []
            notes.append(f"left out because they are beside the splits: {', '.join(each + more)}")
        return notes


def _by_ending(paths: Iterable[str]) -> Counter[str]:
    names = (posixpath.basename(path).lower() for path in paths)
    return Counter(posixpath.splitext(name)[1] or "(no ending)" for name in names if name not in NOTHING)


def _shares(counts: Counter[str]) -> str:
    shown = [f"{label} {count}" for label, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    return ", ".join(shown[:MOST_LISTED] + ([f"{len(shown) - MOST_LISTED} more labels"] * (len(shown) > MOST_LISTED)))
