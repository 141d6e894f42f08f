"""Digests of configurations with tensors, and of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]


class FileEntry(BaseModel):
    """Digest and size of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    size: Count
    """Size in bytes."""

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the entry of a file with this content."""
        return cls(sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    def describes(self, data: bytes) -> bool:
        """Return whether this is the content of the file."""
        return len(data) == self.size and hashlib.sha256(data).hexdigest() == self.sha256


def canonical_json(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces; the same value always gives the same bytes.

    Raises:
        ValueError: a number is not finite.
        TypeError: a value has no form in JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256, 64 hexadecimal digits, of the canonical configuration and, sorted by name, of every tensor's
    dtype, shape and little-endian bytes."""
    digest = hashlib.sha256(canonical_json(dict(config)))
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        digest.update(canonical_json([name, str(array.dtype), list(array.shape)]))
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
