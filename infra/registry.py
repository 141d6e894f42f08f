"""Plug-ins by name: what this product brings, and what installed packages add to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from infra.errors import InputError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """The kinds of one concept by name.

    Packages add theirs under an entry-point group, whose entries are loaded when the registry is first read. Every
    process that has such a package installed therefore knows its kinds, Ray workers too.

    Args:
        what: what is registered, for errors, such as ``unit LM``.
        group: the entry-point group.
    """

    def __init__(self, what: str, group: str) -> None:
        self._what, self._group = what, group
        self._registered: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str, entry: T) -> None:
        """Add a kind.

        Raises:
            InputError: the name belongs to another one.
        """
        if self._registered.setdefault(name, entry) is not entry:
            raise InputError(f"there are two kinds of {self._what} named {name!r}; rename one of them")

    def __getitem__(self, name: str) -> T:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def entries(self) -> dict[str, T]:
        """The kinds themselves; what is put here or taken out changes this process alone."""
        if not self._loaded:
            for entry in entry_points(group=self._group):
                try:
                    self.register(entry.name, entry.load())
                except (ImportError, AttributeError) as error:
                    package = entry.dist.name if entry.dist else entry.value
                    raise InputError(
                        f"{package}: the {self._what} {entry.name!r} cannot be loaded ({error}); "
                        "repair or uninstall that package"
                    ) from error
            self._loaded = True
        return self._registered
