"""Bundles, backbones and their tensors, as kinds of stored files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from benchmarks.fuzzing.stored_kind import Files, StoredKind
from infra import object_storage
from infra.digest import FileEntry, fingerprint
from infra.errors import SpeechPromptError
from tests.fixtures.bundles import random_bundle
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.description import BACKBONE_FILE, LM_FILE, TOKENIZER_FILE, parse_description
from workers.backbone.directory import Backbone, lm_fingerprint, read_backbone, write_backbone
from workers.bundle.format import Bundle, pack, parse_manifest
from workers.bundle.listing import list_bundles
from workers.bundle.manifest import CARD_FILE, MANIFEST_FILE, PROMPT_FILE
from workers.bundle.publish import publish
from workers.bundle.read import find, read
from workers.bundle.signing import SigningKey, TrustedKey, new_key_pair
from workers.untrusted import tensor_file

_TASK: Final = "toy-task"
_TENSORS: Final = "t.safetensors"
_Tensors = Mapping[str, NDArray[Any]]


def _bundle(number: int) -> Bundle:
    """The first is of the task that readers ask for."""
    return random_bundle(seed=number, task="other-task" if number else _TASK, layers=1, length=1, dim=2, vocabulary=5)


def _said(tensors: _Tensors) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Tensors as something that compares by content."""
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in tensors.items()}


def _publish(place: Path, number: int) -> str:
    return publish(str(place), _bundle(number)).uri


def _read_bundle(place: Path) -> object:
    bundle = read(str(place / _TASK))
    # Anybody who may write can say where it came from; only a signature vouches for that.
    return bundle.manifest.model_dump(mode="json", exclude={"provenance"}), _said(bundle.tensors)


@cache
def _key() -> SigningKey:
    with tempfile.TemporaryDirectory() as directory:
        new_key_pair(Path(directory) / "team.pem")
        return SigningKey.read(f"{directory}/team.pem")


def _publish_signed(place: Path, number: int) -> None:
    uri = _publish(place, number)
    _key().sign(uri, find(uri).document)


def _read_signed(place: Path) -> object:
    trusted: list[TrustedKey] = [_key().trusted]
    bundle = read(str(place / _TASK), trusted=trusted)
    return bundle.manifest, _said(bundle.tensors)


def _list(place: Path) -> object:
    return {
        (row.task, row.version): row.manifest.model_dump(mode="json", exclude={"provenance"})
        for row in list_bundles(str(place))
        if row.manifest is not None
    }


def _no_other_rows(found: Mapping[tuple[str, str], object], wanted: Mapping[tuple[str, str], object]) -> bool:
    """A listing may lack what is damaged, and have what was copied beside it under its own name."""
    return all(key[0] != _TASK or key not in wanted or wanted[key] == row for key, row in found.items())


def _forge_bundle(files: Files) -> None:
    """A manifest that vouches for whatever lies beside it."""
    document = _document(files.get(MANIFEST_FILE))
    if document is None:
        return
    document["files"] = {
        name: FileEntry.of(data).model_dump()
        for name in (PROMPT_FILE, CARD_FILE)
        if isinstance(data := files.get(name), bytes)
    }
    files[MANIFEST_FILE] = json.dumps(document).encode()


def _write_flat(place: Path, number: int) -> None:
    for name, data in pack(_bundle(number)).files.items():
        (place / name).write_bytes(data)


def _could_have_been_written(bundle: Bundle, _: Bundle) -> bool:
    packed = pack(bundle)
    again = parse_manifest(packed.files[MANIFEST_FILE], file=MANIFEST_FILE)
    return again == packed.manifest and _said(tensor_file.parse_tensors(packed.files[PROMPT_FILE])) == _said(
        bundle.tensors
    )


@cache
def _backbone(number: int) -> Backbone:
    return tiny_backbone(seed=number)


def _write_backbone(place: Path, number: int) -> None:
    write_backbone(_backbone(number), str(place))


def _read_backbone(place: Path) -> Backbone:
    return read_backbone(str(place))


def _fingerprints(place: Path) -> object:
    backbone = _read_backbone(place)
    return backbone.lm_fingerprint, backbone.tokenizer_fingerprint


def _never_mixed(found: object, _: object) -> bool:
    """A directory that another backbone was copied over is that backbone, which its users tell by its fingerprints."""
    return found in [(each.lm_fingerprint, each.tokenizer_fingerprint) for each in map(_backbone, range(2))]


def _forge_backbone(files: Files) -> None:
    document = _document(files.get(BACKBONE_FILE))
    if document is None:
        return
    contents = {name: data for name in (LM_FILE, TOKENIZER_FILE) if isinstance(data := files.get(name), bytes)}
    document["files"] = {name: FileEntry.of(data).model_dump() for name, data in contents.items()}
    # What is no description, or holds no tensors, has no fingerprint that would be right.
    with suppress(SpeechPromptError, ValueError, KeyError, TypeError, RecursionError):
        described = parse_description(json.dumps(document).encode(), file=BACKBONE_FILE)
        lm, tokenizer = (tensor_file.parse_tensors(contents[name]) for name in (LM_FILE, TOKENIZER_FILE))
        document["fingerprints"] = {
            "unit_lm": lm_fingerprint(described.unit_lm, tuple(described.unit_tokens), lm),
            "tokenizer": fingerprint(described.tokenizer, tokenizer),
        }
    files[BACKBONE_FILE] = json.dumps(document).encode()


def _document(data: object) -> dict[str, Any] | None:
    try:
        document = json.loads(data) if isinstance(data, bytes) else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _is_sound(backbone: Backbone, _: Backbone) -> bool:
    return all(np.isfinite(array).all() for array in backbone.lm_tensors.values()) and backbone.tokenizer.units == len(
        backbone.unit_tokens
    )


def _write_tensors(place: Path, number: int) -> None:
    random = np.random.default_rng(number)
    tensors: dict[str, NDArray[Any]] = {
        "a": random.standard_normal((2, 3)).astype(np.float32),
        "b.weight": random.integers(0, 99, 4).astype(np.int16),
        "c": np.zeros((0, 5), np.float64),
    }
    (place / _TENSORS).write_bytes(save(tensors))


def _read_tensors(place: Path) -> _Tensors:
    return tensor_file.parse_tensors(object_storage.read_bytes(str(place / _TENSORS), limit=1 << 20))


def _fit_their_file(tensors: _Tensors, _: _Tensors) -> bool:
    return _said(tensor_file.parse_tensors(save(dict(tensors)))) == _said(tensors) and sum(
        array.nbytes for array in tensors.values()
    ) <= (1 << 20)


PUBLISHED_KINDS: Final[dict[str, StoredKind]] = {
    "bundle": StoredKind("a task's latest bundle", _publish, _read_bundle),
    "signed-bundle": StoredKind("the same, signed, with provenance", _publish_signed, _read_signed),
    "bundle-listing": StoredKind("all bundles of a store", _publish, _list, accepts=_no_other_rows),
    "forged-bundle": StoredKind(
        "a bundle whose digests are made right",
        _write_flat,
        lambda place: read(str(place)),
        accepts=_could_have_been_written,
        forge=_forge_bundle,
    ),
    "backbone": StoredKind("a backbone directory", _write_backbone, _fingerprints, accepts=_never_mixed),
    "forged-backbone": StoredKind(
        "a backbone whose digests and fingerprints are made right",
        _write_backbone,
        _read_backbone,
        accepts=_is_sound,
        forge=_forge_backbone,
    ),
    "safetensors": StoredKind(
        "tensors without a digest",
        _write_tensors,
        _read_tensors,
        accepts=_fit_their_file,
        refusals=(SpeechPromptError, ValueError),
    ),
}
