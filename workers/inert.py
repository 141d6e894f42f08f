"""The stand-in for any class of a pickle whose behaviour is not wanted."""

from __future__ import annotations

from typing import Any

_SHOWN = 40


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


def shown(value: object) -> str:
    """A value of a file by unknown hands, for a message: short, on one line, without characters that steer terminals.

    Containers are named by their type alone, for a few bytes of pickle can make one whose text has no end.
    """
    if value is None:
        return "missing"
    if isinstance(value, (str, bytes, int, float)):
        return ascii(value)[:_SHOWN]
    return f"a {type(value).__name__}"
