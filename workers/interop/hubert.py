"""The original HuBERT and its k-means as a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from infra import object_storage
from infra.errors import BackboneError
from workers.fairseq.checkpoint import FairseqCheckpoint, read_checkpoint
from workers.fairseq.model_kinds import check_kind
from workers.interop.hubert_weights import BASE_STRIDES, TORCHAUDIO, HubertWeights, from_fairseq, from_torchaudio
from workers.speech.hubert.config import hubert_config
from workers.speech.hubert.tokenizer import HubertTokenizer
from workers.untrusted.pickles import shown

SAMPLE_RATE: Final = 16_000
# Settings that change what is computed, and the values that the tokenizer stands for.
_MODEL: Final[Mapping[str, Any]] = {
    "extractor_mode": "default",
    "layer_norm_first": False,
    "conv_bias": False,
    "activation_fn": "gelu",
    "conv_pos_batch_norm": False,
    "pos_conv_depth": 1,
    "layer_type": "transformer",
}
_TASK: Final[Mapping[str, Any]] = {"normalize": False, "sample_rate": SAMPLE_RATE}
_CONVOLUTIONS = re.compile(r"\[\((\d{1,5}), ?(\d{1,4}), ?(\d{1,4})\)\](?: ?\* ?(\d{1,2}))?")
_WIDTHS: Final = {39: "MFCC", 1024: "HuBERT large", 1280: "HuBERT extra large", 768: "HuBERT base"}


class ImportedHubert(NamedTuple):
    """A tokenizer and where it comes from.

    Attributes:
        tokenizer: encoder and centroids.
        checkpoint: the original tensors and settings, for ``fairseq_hubert_verify``.
    """

    tokenizer: HubertTokenizer
    checkpoint: FairseqCheckpoint


def import_hubert(uri: str, centroids: NDArray[np.float32], *, layer: int, kmeans: str = "--kmeans") -> ImportedHubert:
    """A tokenizer of HuBERT's features and their clusters.

    Args:
        uri: fairseq's checkpoint, or the file of torchaudio's bundle ``HUBERT_BASE``.
        centroids: float32 [units, dim].
        layer: whose features were clustered, from 1; layers above it are left out.
        kmeans: where the centroids are from, for errors.

    Raises:
        BackboneError: it is another kind of model, or anything is missing, extra or misshapen.
        StorageError: the place cannot be read.
    """
    checkpoint = read_checkpoint(uri)
    check_kind(checkpoint.tensors, uri, "speech encoder")
    try:
        if TORCHAUDIO in checkpoint.tensors:
            _check_name(uri)
            weights = from_torchaudio(checkpoint.tensors, layer=layer)
        else:
            weights = _of_fairseq(checkpoint, layer=layer)
        dim = weights.sizes["dim"]
        config = hubert_config({**weights.sizes, "units": len(centroids)})
    except BackboneError as error:
        raise BackboneError(f"{uri}: {error}") from error
    if dim != centroids.shape[1]:
        made_of = _WIDTHS.get(centroids.shape[1], "")
        raise BackboneError(
            f"{kmeans}: centroids of {centroids.shape[1]} numbers{made_of and f', as of {made_of}'}, but features of "
            f"{dim} from {uri}; give the k-means of this encoder's features"
        )
    return ImportedHubert(HubertTokenizer(config, {**weights.tensors, "centroids": centroids}), checkpoint)


def _check_name(uri: str) -> None:
    """torchaudio's files of HuBERT and of wav2vec 2.0 have the same tensors."""
    name = object_storage.basename(uri).lower()
    if "wav2vec" in name and "hubert" not in name:
        raise BackboneError(
            "its name says wav2vec 2.0, whose features are others; give the file of HUBERT_BASE, "
            "or rename this one if its name is wrong"
        )


def _of_fairseq(checkpoint: FairseqCheckpoint, *, layer: int) -> HubertWeights:
    model = checkpoint.model
    if not any(name.startswith("feature_extractor.") for name in checkpoint.tensors):
        raise BackboneError("no speech encoder, for it has no convolutions; give hubert_base_ls960.pt with --hubert")
    for section, settings, wanted in (("model", model, _MODEL), ("task", checkpoint.task, _TASK)):
        for name, value in wanted.items():
            if settings.get(name, value) != value:
                raise BackboneError(
                    f"cfg.{section}.{name} is {shown(settings[name])}, but the tokenizer stands for {value!r}; "
                    "give a checkpoint of HuBERT base"
                )
    layers = model.get("encoder_layers", layer)
    if type(layers) is not int or not 1 <= layer <= layers:
        raise BackboneError(f"there is no layer {layer} among {shown(layers)}; choose another --layer")
    heads = model.get("encoder_attention_heads")
    if type(heads) is not int:
        raise BackboneError("cfg.model.encoder_attention_heads is missing; give the checkpoint that training wrote")
    return from_fairseq(checkpoint.tensors, layer=layer, heads=heads, strides=_strides(model))


def _strides(model: Mapping[str, Any]) -> tuple[int, ...]:
    """Out of ``[(512,10,5)] + [(512,3,2)] * 4 + ...``, which fairseq evaluates as Python."""
    described = model.get("conv_feature_layers")
    if described is None:
        return BASE_STRIDES
    found = [_CONVOLUTIONS.fullmatch(part.strip()) for part in str(described)[:1000].split("+")]
    if not all(found):
        raise BackboneError(
            f"cfg.model.conv_feature_layers is {shown(described)}, no sum of lists of (channels, kernel, stride); "
            "give a checkpoint of HuBERT base"
        )
    return tuple(int(part[3]) for part in found if part for _ in range(int(part[4] or 1)))
