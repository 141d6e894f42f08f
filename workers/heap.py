"""Memory that the C library keeps after it was freed."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Return freed memory to the operating system, where the C library can (glibc); takes milliseconds.

    Tensors of ever other sizes between small objects that stay would otherwise leave ever more holes.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
