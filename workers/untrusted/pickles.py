"""A reader of pickles by unknown hands: every name in them becomes an inert record, or is an error.

It reads all protocols, 0 to 5. What a pickle can do beside naming things, it can do to plain containers and to the
records of this project alone.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import IO, Any, ClassVar, Protocol

from infra.printable import in_ascii

__all__ = ["InertUnpickler"]


_NAMES_SHOWN = 100
_PLAIN = re.compile(r"[A-Za-z_]\w*(\.\w+)*", re.ASCII)
# People know these modules by the right-hand names.
_KNOWN_AS = {"nt": "os", "posix": "os"}
_GETS, _PUTS = {"BINGET", "LONG_BINGET", "GET"}, {"BINPUT", "LONG_BINPUT", "PUT"}


def pickled_names(stream: IO[bytes]) -> list[str]:
    """Dotted names of the modules' contents that the next pickle of ``stream`` asks for, in order.

    Reads to the end of that pickle, or to where it is damaged. What cannot be a name is left out: text of any other
    kind than a pickle holds many such.
    """
    names: list[str] = []
    strings: list[str] = []
    memo: dict[int, str | None] = {}
    top: str | None = None  # the string that was pushed last, unless something else was pushed after it
    try:
        argument: Any
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in ("GLOBAL", "INST"):
                module, _, name = argument.partition(" ")
                names += _plain(module, name)
            elif opcode.name == "STACK_GLOBAL":
                module, name = ["?", "?", *strings][-2:]
                names += _plain(module, name)
            if opcode.name in _GETS:
                top = memo.get(argument)
            elif opcode.name in _PUTS:
                memo[argument] = top
                continue
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = top
                continue
            else:
                top = argument if isinstance(argument, str) else None
            if top is not None:
                strings.append(top)
    except (ValueError, OverflowError, MemoryError):
        # Damaged from here on, which its reader will say.
        return names
    return names


def full_name(module: str, name: str) -> str:
    """``module.name`` as Python 3 calls it, without characters that could steer a terminal."""
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    else:
        module = IMPORT_MAPPING.get(module, module)
    text = f"{_KNOWN_AS.get(module, module)}.{name}"
    return in_ascii(text, _NAMES_SHOWN)


def _plain(module: str, name: str) -> list[str]:
    return [full_name(module, name)] if _PLAIN.fullmatch(module) and _PLAIN.fullmatch(name) else []


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


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


class _Whole:
    """What is read of a file is there, or is an error; the half of a name would be another name."""

    def __init__(self, file: _Readable) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("it ends too early")
        return data

    def readline(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise EOFError("it ends too early")
        return line


# The reader in Python, as joblib uses: the one in C may read ahead, past a pickle's end, and lets a file of a few
# bytes ask for any amount of memory.
class InertUnpickler(pickle._Unpickler):
    """``load`` reads the next pickle of a file.

    Args:
        file: at the beginning of a pickle; it must not make room for more bytes than it holds, as a buffered file does.

    It raises nearly any kind of error where a pickle is damaged, as the reader that it is made of does.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    # Of the original, which sets them when it begins.
    memo: dict[int, Any]
    stack: list[Any]
    read: Callable[[int], bytes]

    def __init__(self, file: _Readable) -> None:
        # Strings of Python 2 are bytes, which this encoding keeps one by one.
        super().__init__(_Whole(file), encoding="latin1")

    def stand_in(self, name: str) -> Any:
        """What takes the place of a dotted name: a class of records, a function of this project, or a constant.

        Raises:
            SpeechPromptError: nothing does; the error says the name.
        """
        raise NotImplementedError

    def load(self) -> Any:
        # The original goes on with the memo of the pickle before.
        self.memo = {}
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        return self.stand_in(full_name(module, name))

    def load_build(self) -> None:
        """Sets a state, of a record alone; the original would change functions and classes as well."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (Inert, PickledDict)):
            raise ValueError("the state of something that has none")
        self.stack[-1].__setstate__(state)

    def load_bytearray8(self) -> None:
        """The original takes the memory before it looks for the bytes to fill it."""
        [size] = struct.unpack("<Q", self.read(8))
        self.stack.append(self.read(size))

    def load_next_buffer(self) -> None:
        raise ValueError("its arrays are kept elsewhere, out of band")

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    dispatch[pickle.NEXT_BUFFER[0]] = load_next_buffer
