"""One digest for a configuration and its tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; the same value always gives the same bytes.

    Raises:
        ValueError: a number that is not finite.
        TypeError: something JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256, 64 hexadecimal digits, over the canonical configuration and, by name, every tensor's dtype, shape
    and little-endian bytes."""
    digest = hashlib.sha256(canonical_json(dict(config)))
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        digest.update(canonical_json([name, str(array.dtype), list(array.shape)]))
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
