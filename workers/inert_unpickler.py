"""A reader of pickles by unknown hands: every name in them becomes an inert record, or is an error.

It reads all protocols, 0 to 5. What a pickle can do beside naming things, it can do to plain containers and to the
records of this project alone.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from workers.inert import Inert, PickledDict
from workers.pickled_names import full_name

__all__ = ["InertUnpickler"]


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
