"""A prompt that the reference code tuned (SpeechPrompt v1 and v2 on GSLM), as a bundle.

With deep prompts the reference's input prompt is dead weight: nothing attends to its positions, so it is left out
and the numbers stay the same. What a bundle cannot say is refused: input prompts without deep ones, and tasks of
several labels, which the reference generates one after the other behind a single separator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from infra.errors import BundleError
from infra.printable import first_of, in_ascii
from task_specs.audio_policy import AudioPolicy
from workers.backbone.directory import Backbone
from workers.bundle.format import Bundle, require_usable
from workers.bundle.manifest import (
    BackboneIdentity,
    BundleManifest,
    Data,
    Inference,
    Metric,
    Prompt,
    Provenance,
    Slot,
    Task,
)
from workers.fairseq.checkpoint import FairseqCheckpoint
from workers.interop.prompt_labels import ReferenceLabels
from workers.prompting.prompt import verbalizer_name
from workers.prompting.prompted_pass import KEYS, SEPARATORS, VALUES
from workers.unit_lm.fairseq import EMBEDDING
from workers.untrusted.pickles import shown

SPECIAL_ROWS: Final = 4
"""Rows of the reference's verbalizer for ``<s>``, ``<pad>``, ``</s>`` and ``<unk>``, before those of the classes."""
_INPUT, _SEPARATOR = "decoder.prefix_embed_prompts.weight", "decoder.sep_embed.weight"
_VERBALIZER = "decoder.prompt_linear_verbalizer.weight"
_DEEP = re.compile(r"decoder\.deep_(key|value)_embed_prompts\.(\d{1,4})\.weight")
_ACCEPTED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_SHOWN = 5


def reference_bundle(
    checkpoint: FairseqCheckpoint,
    labels: ReferenceLabels,
    backbone: Backbone,
    *,
    task: Task,
    digest: str,
    provenance: Provenance,
) -> Bundle:
    """The bundle that gives each utterance the label the checkpoint gives it.

    Args:
        checkpoint: of prompts, as the reference saves it: the tensors of the prompt alone, and all settings.
        labels: of its classes; of a prompt without a trained verbalizer, the mapping to units.
        backbone: the GSLM it was tuned on, imported from the same files.
        task: name, family and language.
        digest: SHA-256 of the files it is made of, for the data themselves are not known.
        provenance: of the bundle.

    Raises:
        BundleError: a tensor is missing, extra or misshapen; the labels do not fit; or it is one of the
            prompts that a bundle cannot say.
    """
    tensors = _tensors(checkpoint, backbone)
    matrix = tensors.get(verbalizer_name(0))
    if matrix is not None:
        names, units = _classes(checkpoint, labels, backbone, len(matrix) - SPECIAL_ROWS), None
    else:
        names, units = labels.labels, (_mapped(checkpoint, labels, backbone),)
    mapping = "frequency" if _data_folder(checkpoint).startswith("freq") else "random"
    layers, length, dim = tensors[KEYS].shape
    seed = checkpoint.task.get("seed")
    try:
        manifest = BundleManifest(
            task=task,
            slots=(Slot(name="label", labels=names),),
            metric=Metric(name="loss"),
            results={},
            prompt=Prompt(
                length=length,
                layers=layers,
                dim=dim,
                vocabulary=backbone.config.vocabulary,
                reading="separator",
                verbalizer="linear" if units is None else mapping,
                special_rows=SPECIAL_ROWS if units is None else 0,
                verbalizer_units=units,
            ),
            recipe={"name": "reference", "architecture": str(checkpoint.model.get("_name"))[:100]},
            seed=seed if type(seed) is int and abs(seed) < 2**63 else 0,
            backbone=BackboneIdentity(
                name=backbone.name, unit_lm=backbone.lm_fingerprint, tokenizer=backbone.tokenizer_fingerprint
            ),
            inference=Inference(
                sample_rate=backbone.tokenizer.sample_rate, audio=AudioPolicy(), separator_prosody="last"
            ),
            data=Data(digest=digest, examples={}),
            provenance=provenance,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "labels"
        raise BundleError(f"{labels.place}: {field}: {first['msg']}; correct the labels or the task's name") from error
    bundle = Bundle(manifest, tensors)
    require_usable(manifest, tensors)
    return bundle


def _tensors(checkpoint: FairseqCheckpoint, backbone: Backbone) -> dict[str, NDArray[np.float32]]:
    """The trained tensors under this project's names, each of the size that the backbone asks for."""
    place, found = checkpoint.place, dict(checkpoint.tensors)
    if _SEPARATOR not in found:
        raise BundleError(
            f"{place}: {_SEPARATOR} is missing, so it is no prompt; name a checkpoint of the reference's "
            "prompt tuning, not base_prompt_model.pt or the LM"
        )
    if EMBEDDING in found:
        raise BundleError(
            f"{place}: a whole LM with its prompts, as base_prompt_model.pt is before tuning; "
            "name a checkpoint of the tuning, which holds the prompt alone"
        )
    deep = {(match[1], int(match[2])): name for name in found if (match := _DEEP.fullmatch(name))}
    if not deep:
        raise BundleError(
            f"{place}: an input prompt without deep prompts, whose positions a bundle does not have; "
            "tune the task again, or import a prompt tuned with deep_prompt"
        )
    config = backbone.config
    if config.kind != "gslm":
        raise BundleError(f"{place}: none were released for {config.kind}; name the backbone of a GSLM")
    found.pop(_INPUT, None)
    first = found[next(iter(deep.values()))]
    length = len(first) if first.dim() else 1
    rows = found[_VERBALIZER].shape[0] if _VERBALIZER in found and found[_VERBALIZER].dim() else SPECIAL_ROWS + 1
    shapes = {_SEPARATOR: (1, config.dim)}
    for layer in range(config.layers):
        for kind in ("key", "value"):
            shapes[f"decoder.deep_{kind}_embed_prompts.{layer}.weight"] = (length, config.dim)
    if _VERBALIZER in found:
        shapes[_VERBALIZER] = (max(rows, SPECIAL_ROWS + 1), config.vocabulary)
    _check(place, found, shapes)

    def array(name: str) -> NDArray[np.float32]:
        return np.array(found[name].float().numpy(), order="C")

    tensors = {SEPARATORS: array(_SEPARATOR)}
    for kind, name in (("key", KEYS), ("value", VALUES)):
        tensors[name] = np.stack([array(deep[kind, layer]) for layer in range(config.layers)])
    if _VERBALIZER in found:
        tensors[verbalizer_name(0)] = array(_VERBALIZER)
    return tensors


def _check(place: str, found: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    shared = sorted(shapes.keys() & found.keys())
    wrong = [f"{name} is missing" for name in shapes if name not in found]
    wrong += [f"{in_ascii(name)} is not part of a prompt on it" for name in found if name not in shapes]
    wrong += [
        f"{name} has shape {tuple(found[name].shape)} instead of {shapes[name]}"
        for name in shared
        if found[name].shape != shapes[name]
    ]
    if wrong:
        raise BundleError(
            f"{place}: does not fit the backbone: {_some(sorted(wrong))}; "
            "name the backbone imported from the unit LM that this prompt was tuned on"
        )
    wrong = [
        f"{name} is {found[name].dtype} instead of floating point"
        for name in shared
        if found[name].dtype not in _ACCEPTED
    ]
    wrong += [
        f"{name} holds numbers that are not finite, or too large for float32"
        for name in shared
        if not found[name].float().isfinite().all()
    ]
    if wrong:
        raise BundleError(f"{place}: {_some(wrong)}; fetch the checkpoint again, or tune the task again")


def _some(wrong: list[str]) -> str:
    return first_of(wrong, _SHOWN, "; ")


def _classes(
    checkpoint: FairseqCheckpoint, labels: ReferenceLabels, backbone: Backbone, classes: int
) -> tuple[str, ...]:
    """Labels in the order of a trained verbalizer's rows."""
    stated = checkpoint.model.get("num_classes", classes)
    if stated != classes or len(labels.labels) != classes:
        raise BundleError(
            f"{labels.place}: {len(labels.labels)} labels for a verbalizer of {classes} classes"
            f"{'' if stated == classes else f', whose settings state {shown(stated)}'}; "
            "give the labels of the task that this prompt was tuned for"
        )
    if labels.units is None:
        return labels.labels
    # A label is the token of its unit, and row 4 + c of the verbalizer scores token 4 + c.
    row = {_token(labels, unit, backbone) - SPECIAL_ROWS: name for name, unit in _pairs(labels)}
    if sorted(row) != list(range(classes)):
        raise BundleError(
            f"{labels.place}: its units are not the classes 0 to {classes - 1}; "
            "name the verbalizer.json of the method 'learnable', or give one label per line in the order of classes"
        )
    return tuple(row[index] for index in range(classes))


def _mapped(checkpoint: FairseqCheckpoint, labels: ReferenceLabels, backbone: Backbone) -> tuple[int, ...]:
    """The token of each label, for a prompt without a trained verbalizer."""
    if labels.units is None:
        raise BundleError(
            f"{checkpoint.place}: has no trained verbalizer, so its labels are units; "
            "give its verbalizer.json, which maps them, with --labels"
        )
    by_token: dict[int, tuple[str, int]] = {}
    for name, unit in _pairs(labels):
        token = _token(labels, unit, backbone)
        if token in by_token:
            other, first = by_token[token]
            shared = f"the same unit {unit}" if unit == first else f"units {first} and {unit}, both unknown to the LM"
            raise BundleError(
                f"{labels.place}: {other!r} and {name!r} stand for {shared}, so this prompt cannot tell them apart; "
                "tune the task again"
            )
        by_token[token] = name, unit
    return tuple(by_token)


def _pairs(labels: ReferenceLabels) -> list[tuple[str, int]]:
    return list(zip(labels.labels, labels.units or (), strict=True))


def _token(labels: ReferenceLabels, unit: int, backbone: Backbone) -> int:
    if unit >= len(backbone.unit_tokens):
        raise BundleError(
            f"{labels.place}: unit {unit} is none of the backbone's 0 to {len(backbone.unit_tokens) - 1}; "
            "name the verbalizer.json of this prompt"
        )
    return backbone.unit_tokens[unit]


def _data_folder(checkpoint: FairseqCheckpoint) -> str:
    """Last part of the path of the training data, ``<method>_data_bin``; the path itself is never followed."""
    path = checkpoint.task.get("data")
    return path.rstrip("/").rpartition("/")[2] if isinstance(path, str) else ""
