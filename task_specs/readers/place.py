"""Where a data set lies: in the root that was named, below it, or in the directory above."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infra import object_storage
from task_specs.problems import shown
from task_specs.readers.tree import Tree, folded


class Place:
    """Finds a data set by files and directories of its own.

    Archives unpack with or without a directory of their own, and people name any directory above or within it. So what
    is not in the root is searched for up to two levels below, and the root is left for the directory above where it is
    one of the data set's own; both are noted.

    Args:
        root: directory URI.
        parts: the data set's own directories, by which a root is known that is one of them.
        note: takes what a user should know though nothing is wrong.
        problem: takes what is wrong with the root, and the remedy.

    Attributes:
        tree: what lies below the root, or below the directory that it was left for.
        nowhere: whether something was searched for, and nothing of the data set was found.
    """

    def __init__(
        self, root: str, parts: Sequence[str], *, note: Callable[[str], None], problem: Callable[[str, str], None]
    ) -> None:
        self.tree = Tree(root.rstrip("/") or "/")
        self.nowhere = False
        self._parts, self._note, self._problem = parts, note, problem
        self._found: dict[tuple[str, ...], tuple[str, str]] = {}

    def of(self, paths: tuple[str, ...]) -> tuple[str, str]:
        """The directory, with a slash, in which one of the ``paths`` is, and that path as it is spelled there; the root
        and the first of all if none is anywhere."""
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
        """Whether the root was left for a directory above it, which holds one of the ``paths``."""
        inner = self.tree
        if object_storage.is_s3(inner.root) or self._found:
            return False
        for part in self._parts:
            if folded(inner.root).endswith(folded(f"/{part}")):
                outer = Tree(inner.root[: -len(part) - 1] or "/")
                if outer.one_of(paths) is not None:
                    self.tree = outer
                    self._note(f"read from {shown(outer.root)}, for the root is its {part}/")
                    return True
        return False
