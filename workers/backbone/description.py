"""``backbone.json``: what a backbone says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator

from infra import object_storage
from infra.digest import FileEntry, Sha256
from infra.errors import BackboneError, ObjectNotFound
from task_specs.near_paths import CORRECT, path_remedy
from workers.speech.unit_prosody import ProsodySettings
from workers.unit_lm.kinds import UNIT_LMS, LMConfig
from workers.untrusted import strict_json
from workers.untrusted.fault_text import first_fault

__all__ = ["BACKBONE_FILE", "FORMAT_VERSION", "LM_FILE", "TOKENIZER_FILE", "BackboneDescription", "read_description"]

FORMAT_VERSION: Final = 2
"""The newest; 1 does not say the digests and sizes of the other files."""
TensorFile = Literal["lm.safetensors", "tokenizer.safetensors"]
BACKBONE_FILE: Final = "backbone.json"
LM_FILE: Final = "lm.safetensors"
TOKENIZER_FILE: Final = "tokenizer.safetensors"
_LIMIT = 64 << 20


class Fingerprints(BaseModel):
    """What the contents must hash to, however they are laid out in files."""

    model_config = ConfigDict(extra="forbid", strict=True)

    unit_lm: Sha256
    tokenizer: Sha256


class BackboneDescription(BaseModel):
    """The content of ``backbone.json``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format_version: Literal[1, 2]
    name: str = Field(max_length=200)
    licence: str = Field(max_length=2000)
    unit_lm: LMConfig
    unit_tokens: Annotated[list[int], FailFast(), Field(min_length=1, max_length=1 << 20)]
    tokenizer: dict[str, Any]
    fingerprints: Fingerprints
    files: dict[TensorFile, FileEntry] = {}
    """Digest and size of each."""

    @model_validator(mode="after")
    def _files_known(self) -> Self:
        wanted = set() if self.format_version == 1 else {LM_FILE, TOKENIZER_FILE}
        if set(self.files) != wanted:
            raise ValueError(f"files: format_version {self.format_version} names {' and '.join(wanted) or 'none'}")
        return self

    @property
    def sample_rate(self) -> int:
        """In Hz, of the waveforms that the tokenizer takes.

        Raises:
            BackboneError: it is not said.
        """
        rate = self.tokenizer.get("sample_rate")
        if type(rate) is not int:
            raise BackboneError(f"{self.name}: tokenizer.sample_rate is no whole number; import or pretrain it again")
        return rate

    @property
    def prosody(self) -> ProsodySettings | None:
        """How the F0 that the LM reads is made; ``None`` for an LM of units alone."""
        return self.unit_lm.prosody_settings


def read_description(uri: str) -> BackboneDescription:
    """What a backbone says of itself, without reading its tensors.

    Raises:
        BackboneError: there is no backbone, or its description is not valid.
        StorageError: the place cannot be read.
    """
    place = object_storage.join(uri, BACKBONE_FILE)
    try:
        text = object_storage.read_bytes(place, limit=_LIMIT)
    except ObjectNotFound as error:
        if not object_storage.is_s3(uri) and (remedy := path_remedy(uri)) != CORRECT and not Path(uri).is_dir():
            raise BackboneError(f"{uri}: there is no such directory; {remedy}") from error
        raise BackboneError(
            f"{uri}: there is no {BACKBONE_FILE}; name a backbone directory, or make one with "
            "'speechprompt backbone import' or 'pretrain'"
        ) from error
    return parse_description(text, file=place)


def parse_description(text: bytes, *, file: str) -> BackboneDescription:
    """A description out of its bytes.

    Raises:
        BackboneError: it is not one, or one of a format this program does not know.
    """
    try:
        document = strict_json.loads(text)
    except ValueError as error:
        raise BackboneError(f"{file}: file: {error}; import or pretrain it again") from error
    found = document.get("format_version") if isinstance(document, dict) else None
    if type(found) is int and found > FORMAT_VERSION:
        raise BackboneError(f"{file}: format_version {found} is newer than {FORMAT_VERSION}; update speechprompt")
    try:
        described = BackboneDescription.model_validate(document)
    except ValidationError as error:
        # Below a section of several kinds, pydantic names the kind as well.
        field, fault = first_fault(error, leave_out=tuple(UNIT_LMS))
        raise BackboneError(f"{file}: {field or 'file'}: {fault}; import or pretrain it again") from error
    for token in described.unit_tokens:
        if not 0 <= token < described.unit_lm.vocabulary:
            raise BackboneError(f"{file}: token {token} is outside the vocabulary; import or pretrain it again")
    return described
