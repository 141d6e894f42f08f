"""A backbone out of the original files: unit LM, dictionary, speech encoder and k-means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.errors import BackboneError
from workers.backbone.directory import Backbone
from workers.fairseq.checkpoint import FairseqCheckpoint, read_checkpoint
from workers.fairseq.model_kinds import check_kind
from workers.fairseq.original_files import OriginalFiles
from workers.interop.centroids import layer_of, read_centroids
from workers.interop.hubert import ImportedHubert, import_hubert
from workers.speech.external import ExternalConfig, ExternalTokenizer
from workers.speech.tokenizer import Tokenizer
from workers.unit_lm.fairseq import ImportedLM
from workers.unit_lm.kinds import UNIT_LMS


@dataclass(frozen=True)
class ImportedBackbone:
    """What was read.

    Attributes:
        backbone: complete, nowhere stored.
        checkpoint: the LM's original tensors and settings, for ``verify``.
        lm: the LM alone.
        hubert: the speech encoder, where one was given.
        notes: what a user should know about the files, though nothing is wrong.
    """

    backbone: Backbone
    checkpoint: FairseqCheckpoint
    lm: ImportedLM
    hubert: ImportedHubert | None
    notes: tuple[str, ...] = ()


def import_backbone(files: OriginalFiles, *, name: str = "", licence: str = "") -> ImportedBackbone:
    """Read all files and fit them together; nothing is written.

    Args:
        files: what to read.
        name: how people call the backbone; by default kind and tokenizer.
        licence: under which the weights may be used.

    Raises:
        BackboneError: a file is missing, damaged, hostile or of another kind, or two of them do not fit together.
        StorageError: a place cannot be read.
    """
    _check_options(files)
    for option, text, longest in (("--name", name, 200), ("--licence", licence, 2000)):
        if len(text) > longest or not text.isprintable():
            raise BackboneError(f"{option}: at most {longest} characters of one line; shorten it")
    layer, assumed = (0, "") if files.kmeans is None else layer_of(files.kmeans, files.layer)
    centroids = None if files.kmeans is None else read_centroids(files.kmeans)
    checkpoint = read_checkpoint(files.lm)
    check_kind(checkpoint.tensors, files.lm, "unit LM")
    # The kinds that were added last are asked first; GSLM's, the first, takes whatever no other knows.
    importers = [kind.fairseq for kind in reversed(tuple(UNIT_LMS.values())) if kind.fairseq is not None]
    importer = next(importer for importer in importers if importer.recognises(checkpoint))
    lm = importer.read(checkpoint, files, units=None if centroids is None else len(centroids))
    hubert = None
    if files.hubert is not None and centroids is not None:
        hubert = import_hubert(files.hubert, centroids, layer=layer, kmeans=str(files.kmeans))
    tokenizer: Tokenizer = hubert.tokenizer if hubert else _external(files, units=len(lm.unit_tokens))
    if tokenizer.units != len(lm.unit_tokens):
        raise BackboneError(
            f"{files.kmeans}: {tokenizer.units} centroids for a unit LM of {len(lm.unit_tokens)} units; "
            "give the k-means that its units were made with"
        )
    chosen = name or f"{lm.config.kind}-{files.tokenizer_name or f'hubert-l{layer}-km{tokenizer.units}'}"
    backbone = Backbone(chosen, lm.config, lm.tensors, lm.unit_tokens, tokenizer, licence)
    notes = (*lm.notes, *(hubert.checkpoint.notes if hubert else ()), *([assumed] if assumed else ()))
    return ImportedBackbone(backbone, checkpoint, lm, hubert, notes)


def _check_options(files: OriginalFiles) -> None:
    """Which options belong together is said before gigabytes are read."""
    given: Mapping[str, bool] = {
        "--hubert": files.hubert is not None,
        "--kmeans": files.kmeans is not None,
        "--tokenizer-name": files.tokenizer_name is not None,
    }
    if given["--hubert"] != given["--kmeans"]:
        raise BackboneError("--hubert and --kmeans belong together: features and their clusters; give both or neither")
    if given["--hubert"] == given["--tokenizer-name"]:
        raise BackboneError(
            "say how audio becomes units: give --hubert and --kmeans, or, for units that come with the data, "
            "--tokenizer-name"
        )


def _external(files: OriginalFiles, *, units: int) -> Tokenizer:
    if not 1 <= len(files.tokenizer_name or "") <= 200:
        raise BackboneError("--tokenizer-name is empty or longer than 200 characters; name the units' tokenizer")
    return ExternalTokenizer(ExternalConfig(name=str(files.tokenizer_name), units=units))
