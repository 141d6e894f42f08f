"""A bundle in memory and as bytes; the bytes are believed only as far as they have been checked.

``<bundles>/<task>/<version>/`` holds three files. ``prompt.safetensors`` is all that was trained, ``README.md`` is
a model card, ``bundle.json`` says what they are and vouches for both by SHA-256 and size. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from infra.digest import FileEntry, canonical_json
from infra.errors import BundleError
from workers.bundle.card import card
from workers.bundle.manifest import (
    CARD_FILE,
    FORMAT_VERSION,
    MANIFEST_FILE,
    PAYLOAD,
    PROMPT_FILE,
    BundleManifest,
    FileName,
    Inference,
    Latest,
)
from workers.untrusted import strict_json, tensor_file
from workers.untrusted.fault_text import first_fault

__all__ = [
    "FORMAT_VERSION",
    "LIMITS",
    "Bundle",
    "BundleManifest",
    "PackedBundle",
    "check_file",
    "pack",
    "parse_latest",
    "parse_manifest",
    "parse_tensors",
    "require_usable",
    "size_limit",
]

LIMITS = {PROMPT_FILE: 512 * 2**20, CARD_FILE: 2**20, MANIFEST_FILE: 8 * 2**20}
"""Most bytes a reader accepts per file; the pointer of a task may have ``LATEST_LIMIT``."""
LATEST_LIMIT = 1024
_HEADER_LIMIT: Final = 64 * 2**10
_MOST_VALUES: Final = 400_000
"""In ``bundle.json``: a document of ten sweeps over twenty thousand labels has fewer."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Bundle:
    """One tuned prompt and everything needed to use it.

    Attributes:
        manifest: ``bundle.json``.
        tensors: float32 arrays by name: ``prompt.keys`` and ``prompt.values`` [layers, length, dim],
            ``separators`` [slots, dim], those of its reading, and for a linear verbalizer ``verbalizer.<slot>``
            [special_rows + classes, inputs]; of an ensemble each with its members as first axis.
        licence: of the data, for the card of a bundle that is to be packed; one that was read does not have it.
    """

    manifest: BundleManifest
    tensors: Mapping[str, NDArray[np.float32]]
    licence: str = ""

    def check_backbone(self, *, unit_lm: str, tokenizer: str) -> None:
        """Refuse a backbone the prompt was not tuned on.

        Args:
            unit_lm: fingerprint of the unit LM at hand.
            tokenizer: fingerprint of the tokenizer at hand.

        Raises:
            BundleError: one of them is another one.
        """
        wanted = self.manifest.backbone
        for part, theirs, ours in (
            ("unit LM", wanted.unit_lm, unit_lm),
            ("tokenizer", wanted.tokenizer, tokenizer),
        ):
            if theirs != ours:
                raise BundleError(
                    f"the bundle of {self.manifest.task.name} was tuned on another {part} "
                    f"({theirs[:12]}, not {ours[:12]})",
                    remedy=f"use the backbone {wanted.name or wanted.unit_lm[:12]}",
                )

    def check_sample_rate(self, tokenizer: int) -> None:
        """Refuse a bundle that says another sample rate than its tokenizer takes, both in Hz.

        Raises:
            BundleError: it does.
        """
        inference = self.manifest.inference
        if inference is not None and inference.sample_rate != tokenizer:
            raise BundleError(
                f"the bundle of {self.manifest.task.name} takes recordings at {inference.sample_rate} Hz, but its "
                f"tokenizer takes {tokenizer}",
                remedy="it was altered, ask its publisher for another bundle",
            )

    def check_sizes(self, *, layers: int, dim: int, outputs: int) -> None:
        """Refuse a prompt that cannot be that of an LM of these sizes, whatever fingerprints it names.

        Raises:
            BundleError: it has other sizes, or reads scores that the LM does not have.
        """
        prompt = self.manifest.prompt
        if (prompt.layers, prompt.dim) != (layers, dim) or prompt.vocabulary > outputs:
            raise BundleError(
                f"the bundle of {self.manifest.task.name} holds a prompt for {prompt.layers} layers of {prompt.dim} "
                f"and {prompt.vocabulary} scores, but its unit LM has {layers} of {dim} and {outputs}",
                remedy="it was altered, ask its publisher for another bundle",
            )


@dataclass(frozen=True)
class PackedBundle:
    """A bundle as the bytes of its files.

    Attributes:
        manifest: with the digests of the files.
        files: content by name, ``bundle.json`` last.
    """

    manifest: BundleManifest
    files: Mapping[str, bytes]


def require_usable(manifest: BundleManifest, tensors: Mapping[str, NDArray[Any]]) -> Inference:
    """What a classifier does with recordings, once all has been checked that it relies on.

    What only the backbone can tell is left to the other checks of `Bundle`.

    Raises:
        BundleError: a tensor is missing, unknown, misshapen, not float32, or not finite, or a manifest of an older
            format says what to do with recordings in a way that means nothing.
    """
    name = f"bundle of {manifest.task.name}"
    _check_shapes(tensors, manifest, file=name)
    for key, array in tensors.items():
        if not np.isfinite(array).all():
            raise BundleError(f"{name}: tensor {key} holds a number that is not finite", remedy="tune it again")
    if manifest.inference is not None:
        return manifest.inference
    sections = {"audio": "preprocessing", "separator_prosody": "recipe"}
    try:
        return Inference(
            audio=(manifest.preprocessing or {}).get("audio", {}),
            separator_prosody=manifest.recipe.get("separator_prosody", "last"),
        )
    except ValidationError as error:
        field, fault = first_fault(error)
        raise BundleError(
            f"the {name}: {sections[field.partition('.')[0]]}.{field}: {fault}", remedy="publish the task again"
        ) from error


def pack(bundle: Bundle) -> PackedBundle:
    """The files of a bundle: the same bundle gives the same bytes.

    Raises:
        BundleError: tensors and manifest disagree.
    """
    require_usable(bundle.manifest, bundle.tensors)
    tensors = {key: np.ascontiguousarray(array) for key, array in bundle.tensors.items()}
    payload = {
        PROMPT_FILE: safetensors.numpy.save(tensors),
        CARD_FILE: card(bundle.manifest, licence=bundle.licence).encode(),
    }
    manifest = bundle.manifest.with_files(payload.items())
    return PackedBundle(manifest, payload | {MANIFEST_FILE: _document(manifest)})


def check_publishable(manifest: BundleManifest, *, licence: str = "") -> None:
    """Refuse what no reader would accept, before there are any tensors.

    Args:
        manifest: without files.
        licence: of the data.

    Raises:
        BundleError: a file of its bundle would be too large, or hold too many values.
    """
    prompt = tensor_file.largest_file(manifest.tensor_shapes, header_limit=_HEADER_LIMIT)
    sizes = {PROMPT_FILE: prompt, CARD_FILE: len(card(manifest, licence=licence).encode())}
    files = {name: FileEntry(sha256="f" * 64, size=size) for name, size in sizes.items()}
    _document(manifest.model_copy(update={"files": files}))


def _document(manifest: BundleManifest) -> bytes:
    """The bytes of ``bundle.json``, which readers accept with the files that it names."""
    name = f"bundle of {manifest.task.name}"
    document = canonical_json(manifest.model_dump(mode="json")) + b"\n"
    sizes = {file: entry.size for file, entry in manifest.files.items()} | {MANIFEST_FILE: len(document)}
    for file, size in sizes.items():
        if size > LIMITS[file]:
            remedy = "give fewer or shorter labels" + (", or a shorter prompt" if file == PROMPT_FILE else "")
            raise BundleError(
                f"{name}: {file} has {size:,} bytes, more than the {LIMITS[file]:,} that readers accept",
                remedy=remedy,
            )
    try:
        parse_manifest(document, file=MANIFEST_FILE)
    except BundleError as error:
        raise BundleError(
            f"{name}: no reader would accept it, for {error.reason}", remedy="give fewer or shorter labels"
        ) from error
    return document


def parse_manifest(data: bytes, *, file: str) -> BundleManifest:
    """``bundle.json`` of a store, where every other file must be vouched for.

    Raises:
        BundleError: it is not one, or one of a format this program does not know.
    """
    document = _json(data, file)
    found = document.get("format_version") if isinstance(document, dict) else None
    if type(found) is not int:  # pydantic takes true for 1
        raise BundleError("has no format_version", where=file, remedy="it is not the manifest of a bundle")
    if found > FORMAT_VERSION:
        raise BundleError(
            f"{file}: format_version {found} is newer than {FORMAT_VERSION}", remedy="update speechprompt"
        )
    manifest = _validated(BundleManifest, data, file)
    if set(manifest.files) != set(PAYLOAD):
        raise BundleError(
            f"{file}: files must name {' and '.join(PAYLOAD)}", remedy="the bundle is damaged, publish it again"
        )
    return manifest


def parse_latest(data: bytes, *, file: str) -> str:
    """The version that ``latest.json`` names.

    Raises:
        BundleError: it is not such a file.
    """
    _json(data, file)
    return _validated(Latest, data, file).version


def check_file(data: bytes, entry: FileEntry, *, file: str) -> None:
    """Compare a file with what the manifest says of it; to be done before anything parses it.

    Raises:
        BundleError: size or digest differ.
    """
    if not entry.describes(data):
        raise BundleError(
            "is not the file that bundle.json describes", where=file, remedy="it was altered, fetch or publish it again"
        )


def parse_tensors(data: bytes, manifest: BundleManifest, *, file: str) -> dict[str, NDArray[np.float32]]:
    """The tensors of ``prompt.safetensors``, exactly those the manifest announces.

    Raises:
        BundleError: the file is not one, or a tensor is missing, unknown, misshapen or not float32.
    """
    try:
        found = tensor_file.parse_tensors(data, header_limit=_HEADER_LIMIT)
    except ValueError as error:
        raise BundleError(f"{file}: {error}", remedy="fetch or publish the bundle again") from error
    _check_shapes(found, manifest, file=file)
    return found


def size_limit(name: FileName, manifest: BundleManifest) -> int:
    """Most bytes that a file of this bundle can have; no more of it is read."""
    if name != PROMPT_FILE:
        return LIMITS[name]
    return min(LIMITS[name], tensor_file.largest_file(manifest.tensor_shapes, header_limit=_HEADER_LIMIT))


def _check_shapes(found: Mapping[str, NDArray[Any]], manifest: BundleManifest, *, file: str) -> None:
    wanted = manifest.tensor_shapes
    if differing := sorted(wanted.keys() ^ found.keys()):
        name = differing[0]
        fault = "is missing" if name in wanted else "is unknown"
        raise BundleError(f"{file}: tensor {name[:60]!r} {fault}", remedy=f"a bundle holds exactly {', '.join(wanted)}")
    for name, shape in wanted.items():
        if found[name].dtype != np.float32 or found[name].shape != shape:
            raise BundleError(
                f"{file}: tensor {name} is {found[name].dtype} {list(found[name].shape)}, "
                f"but the manifest announces float32 {list(shape)}",
                remedy="tune and publish the task again",
            )


def _json(data: bytes, file: str) -> Any:
    try:
        return strict_json.loads(data, values=_MOST_VALUES)
    except ValueError as error:
        raise BundleError(
            f"is not valid JSON ({error})", where=file, remedy="fetch or publish the bundle again"
        ) from error


def _validated(model: type[_Model], data: bytes, file: str) -> _Model:
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        field, fault = first_fault(error)
        raise BundleError(
            f"{file}: {field or 'the document'!r} is not as it must be ({fault})",
            remedy="fetch or publish the bundle again",
        ) from error
