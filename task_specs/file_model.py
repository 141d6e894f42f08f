"""What a YAML file describes, and which file that was."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr


class FileModel(BaseModel):
    """Base of models read from a file of the user's; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _source: str = PrivateAttr("")

    def model_post_init(self, context: Any, /) -> None:
        """Takes the file's URI from the validation context."""
        self._source = (context or {}).get("source", "")

    @property
    def source(self) -> str:
        """URI of the file this was read from; empty for one made in code."""
        return self._source
