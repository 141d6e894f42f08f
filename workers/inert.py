"""The stand-ins for any class of a pickle whose behaviour is not wanted."""

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


class PickledDict(dict[Any, Any]):
    """A subclass of ``dict`` in the standard library; what it keeps beside its entries is left out."""

    def __setstate__(self, state: object) -> None:
        pass


def latin1(text: object, encoding: object) -> bytes:
    """``_codecs.encode`` as old protocols use it to write bytes.

    Raises:
        ValueError: it is used in any other way.
    """
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


def reconstructor(kind: object, *_: object) -> Inert:
    """``copyreg._reconstructor``, by which protocols 0 and 1 make every object.

    Raises:
        ValueError: it is to make an object of no class.
    """
    if not isinstance(kind, type) or not issubclass(kind, Inert):
        raise ValueError("an object of no class")
    return kind()


def shown(value: object) -> str:
    """A value of a file by unknown hands, for a message: short, on one line, without characters that steer terminals.

    Containers are named by their type alone, for a few bytes of pickle can make one whose text has no end.
    """
    if value is None:
        return "missing"
    if isinstance(value, (str, bytes, int, float)):
        return ascii(value)[:_SHOWN]
    # Our own stand-ins are called what they stand for.
    return f"a {type(value).__name__.removeprefix('Pickled').lower()}"
