"""Stand-ins for what numpy puts into pickles: they hold its data and run nothing of it.

Array bytes become an array only in ``PickledArray.array``, after shape, kind of number and length have been compared.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.untrusted.pickles import Inert, shown

_NUMBER = re.compile(r"[biuf][1248]")
_BYTE_ORDERS = ("<", ">", "|", "=")
_LARGEST_SIDE = 1 << 40


class PickledDtype(Inert):
    """``numpy.dtype``."""

    def dtype(self) -> np.dtype[Any]:
        """The kind of number it names.

        Raises:
            ValueError: it is no plain number.
        """
        code = self._code()
        state = self.state
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        if isinstance(order, bytes):
            order = order.decode("ascii", "replace")
        if not isinstance(code, str) or not _NUMBER.fullmatch(code) or order not in _BYTE_ORDERS:
            raise ValueError(f"an array of {shown(code)} holds no plain numbers")
        return np.dtype(f"{order}{code}")

    def holds_objects(self) -> bool:
        """Whether it is of Python objects instead of numbers."""
        return str(self._code()).startswith("O")

    def _code(self) -> object:
        code = self.arguments[0] if self.arguments else None
        return code.decode("ascii", "replace") if isinstance(code, bytes) else code


class PickledArray(Inert):
    """``numpy.ndarray``, as ``pickle`` writes it."""

    def array(self) -> NDArray[Any]:
        """Its numbers.

        Raises:
            ValueError: it is damaged, or holds no plain numbers.
        """
        state = self.state
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array without contents")
        _, shape, dtype, fortran, data = state
        if isinstance(data, str):
            data = data.encode("latin1")  # as Python 2 wrote it
        if not isinstance(data, bytes):
            raise ValueError("an array of objects instead of numbers")
        return array_of(data, shape, dtype, fortran=fortran is True)


def byte_count(shape: object, dtype: object) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, kind of number and size in bytes of an array that a pickle describes.

    Raises:
        ValueError: the shape is none, or the array holds no plain numbers.
    """
    if not isinstance(shape, tuple) or not all(type(side) is int and 0 <= side < _LARGEST_SIDE for side in shape):
        raise ValueError(f"an array of shape {shown(shape)}")
    if not isinstance(dtype, PickledDtype):
        raise ValueError("an array of no known kind of number")
    kind = dtype.dtype()
    return shape, kind, math.prod(shape) * kind.itemsize


def array_of(data: bytes, shape: object, dtype: object, *, fortran: bool) -> NDArray[Any]:
    """The array whose elements are ``data``.

    Raises:
        ValueError: shape or dtype are none, or there are more or fewer bytes than they need.
    """
    sides, kind, size = byte_count(shape, dtype)
    if len(data) != size:
        raise ValueError(f"an array of {list(sides)} needs {size} bytes and has {len(data)}")
    return np.frombuffer(data, dtype=kind).reshape(sides, order="F" if fortran else "C")


def reconstruct(*_: object) -> PickledArray:
    """``numpy.core.multiarray._reconstruct``: an array whose contents follow."""
    return PickledArray()


def from_buffer(data: object, dtype: object, shape: object, order: object) -> PickledArray:
    """``numpy.core.numeric._frombuffer``, by which protocol 5 makes an array."""
    made = PickledArray()
    made.state = (1, shape, dtype, order == "F", data)
    return made


NUMPY_STAND_INS: dict[str, Any] = {
    "numpy.ndarray": PickledArray,
    "numpy.memmap": PickledArray,
    "numpy.dtype": PickledDtype,
    # numpy 2 calls its core _core.
    **{f"numpy.{core}.multiarray._reconstruct": reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": Inert for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": from_buffer for core in ("core", "_core")},
}
"""What stands in for each name that a pickled array or number holds."""
