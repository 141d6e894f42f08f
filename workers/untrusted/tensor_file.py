"""The tensors of a safetensors file by unknown hands, compared with what they must be before they are used.

The library checks that a header and its data agree. What it lets pass is refused here: a header of a hundred megabytes
that unfolds into gigabytes, a name that stands there twice, kinds of numbers that are not numpy's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import safetensors
from numpy.typing import NDArray

from workers.untrusted import strict_json

HEADER_LIMIT: Final = 4 * 2**20
"""Bytes of a header; that of an LM of a thousand layers has 2.4 million."""
_DTYPES: Final = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
Shapes = Mapping[str, tuple[int, ...]]


def largest_file(shapes: Shapes, *, header_limit: int = HEADER_LIMIT) -> int:
    """Most bytes of a file of these float32 tensors."""
    return 8 + header_limit + 4 * sum(math.prod(shape) for shape in shapes.values())


def parse_tensors(data: bytes, *, header_limit: int = HEADER_LIMIT) -> dict[str, NDArray[Any]]:
    """All tensors of a file.

    Args:
        data: the file.
        header_limit: refuse a longer header, before it is parsed.

    Raises:
        ValueError: it is not a safetensors file, or a name is repeated, there is other text than names of tensors, or
            a tensor holds no plain numbers.
    """
    header_size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or header_size > len(data) - 8:
        raise ValueError("not a safetensors file")
    if header_size > header_limit:
        raise ValueError(f"a header of {header_size} bytes, more than the {header_limit} allowed")
    try:
        found: dict[str, dict[str, Any]] = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, OverflowError) as error:
        raise ValueError("not a safetensors file") from error
    header = strict_json.loads(data[8 : 8 + header_size])
    if extra := sorted(header.keys() - found.keys()):
        raise ValueError(f"{ascii(extra[0])[:60]} is no tensor")
    tensors = {}
    for name, tensor in found.items():
        if tensor["dtype"] not in _DTYPES:
            raise ValueError(f"tensor {ascii(name)[:60]} is {ascii(tensor['dtype'])[:20]}, no kind of number used here")
        tensors[name] = np.frombuffer(tensor["data"], dtype=_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return tensors
