"""A backbone on disk or in object storage.

``backbone.json`` says what it is, ``lm.safetensors`` and ``tokenizer.safetensors`` hold the tensors. The JSON file is
written last: a directory without it is not a backbone. Its fingerprints are recomputed from the files on every
reading, so a backbone is either the one its users know or an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from infra import object_storage, strict_json
from infra.errors import BackboneError, ObjectNotFound
from workers.backbone.fingerprint import fingerprint
from workers.backbone.lm_kinds import LM_KINDS, LMConfig, build_lm
from workers.backbone.multistream_config import MultistreamConfig
from workers.backbone.unit_lm import UnitLMConfig
from workers.speech.tokenizer import Tokenizer, build_tokenizer
from workers.speech.unit_prosody import ProsodySettings

FORMAT_VERSION = 1
BACKBONE_FILE, LM_FILE, TOKENIZER_FILE = "backbone.json", "lm.safetensors", "tokenizer.safetensors"


class Fingerprints(BaseModel):
    """What the files must hash to."""

    model_config = ConfigDict(extra="forbid", strict=True)

    unit_lm: str = Field(pattern="^[0-9a-f]{64}$")
    tokenizer: str = Field(pattern="^[0-9a-f]{64}$")


class BackboneDescription(BaseModel):
    """The content of ``backbone.json``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format_version: Literal[1]
    name: str = Field(max_length=200)
    licence: str = Field(max_length=2000)
    unit_lm: LMConfig
    unit_tokens: list[int] = Field(min_length=1, max_length=1 << 20)
    tokenizer: dict[str, Any]
    fingerprints: Fingerprints

    @property
    def prosody(self) -> ProsodySettings | None:
        """How the F0 that the LM reads is made; ``None`` for an LM of units alone."""
        return self.unit_lm.prosody if isinstance(self.unit_lm, MultistreamConfig) else None


@dataclass(frozen=True)
class Backbone:
    """Tokenizer and unit LM, frozen.

    Attributes:
        name: how people call it.
        config: kind, sizes and special ids of the unit LM.
        lm_tensors: its weights by the module's names, float32.
        unit_tokens: token id of each unit; a dictionary may have any order.
        tokenizer: audio to units.
        licence: under which the weights may be used, if known.
    """

    name: str
    config: UnitLMConfig
    lm_tensors: Mapping[str, NDArray[np.float32]]
    unit_tokens: tuple[int, ...]
    tokenizer: Tokenizer
    licence: str = ""

    @cached_property
    def lm_fingerprint(self) -> str:
        """SHA-256 of the unit LM: sizes, special ids, dictionary and weights."""
        return lm_fingerprint(self.config, self.unit_tokens, self.lm_tensors)

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """SHA-256 of the tokenizer's settings and tensors."""
        return fingerprint(self.tokenizer.config(), self.tokenizer.tensors())


def lm_fingerprint(
    config: UnitLMConfig, unit_tokens: tuple[int, ...], tensors: Mapping[str, NDArray[np.float32]]
) -> str:
    """SHA-256 of a unit LM: its sizes, special ids, dictionary and weights."""
    return fingerprint({**config.model_dump(mode="json"), "unit_tokens": list(unit_tokens)}, tensors)


def check_lm_tensors(config: UnitLMConfig, tensors: Mapping[str, NDArray[Any]], where: str) -> None:
    """The weights are exactly those of the sizes: none missing, none left over, each of its shape, float32.

    Raises:
        BackboneError: names what is missing, extra or misshapen.
    """
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in build_lm(config).state_dict().items()}
    wrong = [f"{name} is missing" for name in sorted(expected.keys() - tensors.keys())]
    wrong += [f"{name} is not part of this LM" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        if tensors[name].shape != expected[name]:
            wrong.append(f"{name} has shape {tensors[name].shape} instead of {expected[name]}")
        elif tensors[name].dtype != np.float32:
            wrong.append(f"{name} is {tensors[name].dtype} instead of float32")
    if wrong:
        more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
        raise BackboneError(f"{where}: {'; '.join(wrong[:5])}{more}; import or pretrain the backbone again")


def write_backbone(backbone: Backbone, uri: str) -> None:
    """Store a backbone in a directory, local or S3.

    Raises:
        BackboneError: another backbone is stored there.
        StorageError: the place cannot be written.
    """
    check_lm_tensors(backbone.config, backbone.lm_tensors, uri)
    described = {
        "format_version": FORMAT_VERSION,
        "name": backbone.name,
        "licence": backbone.licence,
        "unit_lm": backbone.config.model_dump(mode="json"),
        "unit_tokens": list(backbone.unit_tokens),
        "tokenizer": backbone.tokenizer.config(),
        "fingerprints": {"unit_lm": backbone.lm_fingerprint, "tokenizer": backbone.tokenizer_fingerprint},
    }
    text = (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()
    place = object_storage.join(uri, BACKBONE_FILE)
    if object_storage.exists(place):
        if object_storage.read_bytes(place) == text:
            return
        raise BackboneError(f"{uri}: another backbone is stored there; choose another directory")
    object_storage.write_bytes(object_storage.join(uri, LM_FILE), save(dict(backbone.lm_tensors)))
    object_storage.write_bytes(object_storage.join(uri, TOKENIZER_FILE), save(backbone.tokenizer.tensors()))
    if not object_storage.write_if_absent(place, text) and object_storage.read_bytes(place) != text:
        raise BackboneError(f"{uri}: another backbone was stored there meanwhile; choose another directory")


def read_backbone(uri: str) -> Backbone:
    """The backbone in a directory, checked against its fingerprints.

    Raises:
        BackboneError: it is missing, incomplete, of another format version, or not what its fingerprints say.
        StorageError: the place cannot be read.
    """
    described = read_description(uri)
    config = described.unit_lm
    lm_tensors = _read_tensors(uri, LM_FILE)
    check_lm_tensors(config, lm_tensors, f"{uri}/{LM_FILE}")
    backbone = Backbone(
        described.name,
        config,
        lm_tensors,
        tuple(described.unit_tokens),
        read_tokenizer(uri, described),
        described.licence,
    )
    _check_fingerprint(uri, "unit_lm", backbone.lm_fingerprint, described)
    return backbone


def read_tokenizer(uri: str, described: BackboneDescription) -> Tokenizer:
    """The tokenizer of a backbone alone, checked against its fingerprint.

    Raises:
        BackboneError: it is missing, or not what its fingerprint says.
    """
    tensors = _read_tensors(uri, TOKENIZER_FILE)
    _check_fingerprint(uri, "tokenizer", fingerprint(described.tokenizer, tensors), described)
    tokenizer = build_tokenizer(described.tokenizer, tensors)
    if tokenizer.units != len(described.unit_tokens):
        raise BackboneError(
            f"{uri}/{BACKBONE_FILE}: unit_tokens: {len(described.unit_tokens)} for a tokenizer of "
            f"{tokenizer.units} units; import it again"
        )
    return tokenizer


def read_description(uri: str) -> BackboneDescription:
    """What a backbone says of itself, without reading its tensors.

    Raises:
        BackboneError: there is no backbone, or its description is not valid.
        StorageError: the place cannot be read.
    """
    place = object_storage.join(uri, BACKBONE_FILE)
    try:
        text = object_storage.read_bytes(place, limit=64 << 20)
    except ObjectNotFound as error:
        raise BackboneError(
            f"{uri}: there is no {BACKBONE_FILE}; name a backbone directory, or make one with "
            "'speechprompt backbone import' or 'pretrain'"
        ) from error
    try:
        described = BackboneDescription.model_validate(strict_json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        # Below a section of several kinds, pydantic names the kind as well.
        field = ".".join(str(part) for part in first["loc"] if part not in LM_KINDS)
        raise BackboneError(f"{place}: {field or 'file'}: {first['msg']}; import or pretrain it again") from error
    except ValueError as error:
        raise BackboneError(f"{place}: file: {error}; import or pretrain it again") from error
    for token in described.unit_tokens:
        if not 0 <= token < described.unit_lm.vocabulary:
            raise BackboneError(f"{place}: token {token} is outside the vocabulary; import or pretrain it again")
    return described


def _check_fingerprint(
    uri: str, part: Literal["unit_lm", "tokenizer"], found: str, described: BackboneDescription
) -> None:
    stated: str = getattr(described.fingerprints, part)
    if found != stated:
        raise BackboneError(
            f"{uri}: {part} has fingerprint {found[:12]} but {BACKBONE_FILE} states {stated[:12]}; "
            "the files were altered or mixed, fetch the backbone again"
        )


def _read_tensors(uri: str, name: str) -> dict[str, NDArray[Any]]:
    place = object_storage.join(uri, name)
    try:
        return load(object_storage.read_bytes(place))
    except ObjectNotFound as error:
        raise BackboneError(f"{place}: missing; the backbone is incomplete, fetch it again") from error
    except SafetensorError as error:
        raise BackboneError(f"{place}: not a safetensors file ({error}); fetch the backbone again") from error
