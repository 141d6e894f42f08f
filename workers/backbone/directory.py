"""A backbone on disk or in object storage.

``backbone.json`` says what it is, ``lm.safetensors`` and ``tokenizer.safetensors`` hold the tensors. The JSON file is
written last: a directory without it is not a backbone. Its fingerprints are recomputed from the files on every
reading, so a backbone is either the one its users know or an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from infra import object_storage
from infra.digest import FileEntry, fingerprint
from infra.errors import BackboneError, ObjectNotFound
from infra.printable import first_of, in_ascii
from workers.backbone.description import (
    BACKBONE_FILE,
    FORMAT_VERSION,
    LM_FILE,
    TOKENIZER_FILE,
    BackboneDescription,
    TensorFile,
    read_description,
)
from workers.speech.tokenizer import Tokenizer, build_tokenizer, tokenizer_shapes
from workers.unit_lm.kinds import build_lm
from workers.unit_lm.unit_lm import UnitLMConfig
from workers.untrusted import tensor_file

__all__ = [
    "BACKBONE_FILE",
    "Backbone",
    "BackboneDescription",
    "check_lm_tensors",
    "lm_fingerprint",
    "read_backbone",
    "read_description",
    "read_tokenizer",
    "write_backbone",
]


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
    expected = _lm_shapes(config)
    wrong = [f"{name} is missing" for name in sorted(expected.keys() - tensors.keys())]
    wrong += [f"{in_ascii(name)} is not part of this LM" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        if tensors[name].shape != expected[name]:
            wrong.append(f"{name} has shape {tensors[name].shape} instead of {expected[name]}")
        elif tensors[name].dtype != np.float32:
            wrong.append(f"{name} is {tensors[name].dtype} instead of float32")
        elif not np.isfinite(tensors[name]).all():
            wrong.append(f"{name} holds numbers that are not finite")
    if wrong:
        raise BackboneError(f"{where}: {first_of(wrong, 5, '; ')}; import or pretrain the backbone again")


def _lm_shapes(config: UnitLMConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build_lm(config).state_dict().items()}


def write_backbone(backbone: Backbone, uri: str) -> None:
    """Store a backbone in a directory, local or S3.

    Raises:
        BackboneError: another backbone is stored there.
        StorageError: the place cannot be written.
    """
    check_lm_tensors(backbone.config, backbone.lm_tensors, uri)
    files: dict[TensorFile, bytes] = {
        LM_FILE: save(dict(backbone.lm_tensors)),
        TOKENIZER_FILE: save(backbone.tokenizer.tensors()),
    }
    described = {
        "format_version": FORMAT_VERSION,
        "name": backbone.name,
        "licence": backbone.licence,
        "unit_lm": backbone.config.model_dump(mode="json"),
        "unit_tokens": list(backbone.unit_tokens),
        "tokenizer": backbone.tokenizer.config(),
        "fingerprints": {"unit_lm": backbone.lm_fingerprint, "tokenizer": backbone.tokenizer_fingerprint},
        "files": {name: FileEntry.of(data).model_dump() for name, data in files.items()},
    }
    text = (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()
    place = object_storage.join(uri, BACKBONE_FILE)
    if object_storage.exists(place):
        if _same(read_description(uri), backbone):
            return
        raise BackboneError(f"{uri}: another backbone is stored there; choose another directory")
    for name, data in files.items():
        object_storage.write_bytes(object_storage.join(uri, name), data)
    if not object_storage.write_if_absent(place, text) and object_storage.read_bytes(place) != text:
        raise BackboneError(f"{uri}: another backbone was stored there meanwhile; choose another directory")


def _same(stored: BackboneDescription, backbone: Backbone) -> bool:
    """Whether the backbone is stored already, in whichever format."""
    found = (stored.name, stored.licence, stored.fingerprints.unit_lm, stored.fingerprints.tokenizer)
    return found == (backbone.name, backbone.licence, backbone.lm_fingerprint, backbone.tokenizer_fingerprint)


def read_backbone(uri: str) -> Backbone:
    """The backbone in a directory, checked against its fingerprints.

    Raises:
        BackboneError: it is missing, incomplete, of another format version, or not what its fingerprints say.
        StorageError: the place cannot be read.
    """
    described = read_description(uri)
    config = described.unit_lm
    lm_tensors = _read_tensors(uri, LM_FILE, _lm_shapes(config), described)
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
    with _in_description(uri):
        shapes = tokenizer_shapes(described.tokenizer)
    tensors = _read_tensors(uri, TOKENIZER_FILE, shapes, described)
    _check_fingerprint(uri, "tokenizer", fingerprint(described.tokenizer, tensors), described)
    with _in_description(uri):
        tokenizer = build_tokenizer(described.tokenizer, tensors)
    if tokenizer.units != len(described.unit_tokens):
        raise BackboneError(
            f"{uri}/{BACKBONE_FILE}: unit_tokens: {len(described.unit_tokens)} for a tokenizer of "
            f"{tokenizer.units} units; import it again"
        )
    return tokenizer


def _check_fingerprint(
    uri: str, part: Literal["unit_lm", "tokenizer"], found: str, described: BackboneDescription
) -> None:
    stated: str = getattr(described.fingerprints, part)
    if found != stated:
        raise BackboneError(
            f"{uri}: {part} has fingerprint {found[:12]} but {BACKBONE_FILE} states {stated[:12]}; "
            "the files were altered or mixed, fetch the backbone again"
        )


def _read_tensors(
    uri: str, name: TensorFile, shapes: tensor_file.Shapes, described: BackboneDescription
) -> dict[str, NDArray[Any]]:
    """The tensors of a file, of which no more is read than the sizes in the description ask for."""
    place = object_storage.join(uri, name)
    entry, limit = described.files.get(name), tensor_file.largest_file(shapes)
    if entry is not None and entry.size > limit:
        raise BackboneError(
            f"{place}: is said to have {entry.size} bytes, but its tensors have {limit} at most; import it again"
        )
    if limit > (memory := os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
        raise BackboneError(
            f"{place}: its tensors have {limit >> 30:,} GiB by {BACKBONE_FILE}, and this machine has a memory of "
            f"{memory >> 30:,} GiB; use a larger one, or import it again if it is not so large"
        )
    try:
        data = object_storage.read_bytes(place, limit=limit)
    except ObjectNotFound as error:
        raise BackboneError(f"{place}: missing; the backbone is incomplete, fetch it again") from error
    if entry is not None and not entry.describes(data):
        raise BackboneError(
            f"{place}: not the file that {BACKBONE_FILE} describes; it was altered, fetch the backbone again"
        )
    try:
        return tensor_file.parse_tensors(data)
    except ValueError as error:
        raise BackboneError(f"{place}: {error}; fetch the backbone again") from error


@contextmanager
def _in_description(uri: str) -> Iterator[None]:
    """Says of which file an error about its settings speaks."""
    try:
        yield
    except BackboneError as error:
        raise BackboneError(f"{uri}/{BACKBONE_FILE}: {error}") from error
