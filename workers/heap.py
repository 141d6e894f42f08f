"""Memory that the C library keeps after it was freed."""

from __future__ import annotations

import ctypes
import sys


def trim() -> None:
    """Return freed memory to the operating system; on Linux, whose C library would keep it.

    Tensors of ever other sizes between small objects that stay would otherwise leave ever more holes.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
