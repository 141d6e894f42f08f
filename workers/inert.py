"""The stand-in for any class of a pickle whose behaviour is not wanted."""

from __future__ import annotations

from typing import Any


class Inert:
    """Keeps what a pickle says of an object, and does nothing.

    Attributes:
        arguments: what it was made with.
        state: what ``__setstate__`` would have been given; ``None`` for an object without state.
    """

    def __new__(cls, *arguments: object, **_: object) -> Inert:
        made = super().__new__(cls)
        made.arguments = arguments
        made.state = None
        return made

    def __init__(self, *_: object, **__: object) -> None:
        self.arguments: tuple[Any, ...]
        self.state: Any

    def __setstate__(self, state: object) -> None:
        self.state = state
