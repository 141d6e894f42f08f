"""An ``.npy`` file by unknown hands."""

from __future__ import annotations

import io
import math
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from workers.untrusted.fault_text import Damaged

MAGIC: Final = npy.MAGIC_PREFIX


def parse_npy(data: bytes) -> NDArray[Any]:
    """The array of a file, which must be of plain numbers and exactly as long as it says.

    Raises:
        Damaged: it ends too early, or goes on behind its end.
        ValueError: it is no such file, or holds something else than plain numbers.
    """
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception as error:
        # The header is Python, of which a damaged one makes its parser raise nearly any kind of error.
        raise ValueError("not an .npy file of numbers") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"not an .npy file of numbers but of {str(dtype)[:40]}")
    start, size = file.tell(), math.prod(shape) * dtype.itemsize
    if len(data) - start != size:
        raise Damaged(f"{len(data) - start} bytes of numbers where its shape needs {size}")
    return np.frombuffer(data, dtype=dtype, offset=start).reshape(shape, order="F" if fortran else "C")
