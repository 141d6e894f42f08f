"""What a description says of a file beside it, so that the file can be refused before anything parses it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]


class FileEntry(BaseModel):
    """Digest and size of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    size: Count
    """Bytes."""

    @classmethod
    def of(cls, data: bytes) -> Self:
        """What is to be said of these bytes."""
        return cls(sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    def describes(self, data: bytes) -> bool:
        """Whether these are the bytes."""
        return len(data) == self.size and hashlib.sha256(data).hexdigest() == self.sha256
