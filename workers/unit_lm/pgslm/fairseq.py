"""A pGSLM out of fairseq's files: the ``transformer_ulm`` family, and the bins of its F0."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from infra.errors import BackboneError
from workers.fairseq.checkpoint import FairseqCheckpoint
from workers.fairseq.original_files import OriginalFiles
from workers.speech.unit_prosody import ProsodySettings, UnitProsody
from workers.unit_lm.fairseq import (
    EMBEDDING,
    FairseqDictionary,
    FairseqLM,
    ImportedLM,
    checked,
    converted,
    notes,
    prepared,
    sizes,
)
from workers.unit_lm.pgslm.config import SPECIAL_IDS, PGSLMConfig
from workers.unit_lm.pgslm.f0_bins import read_f0_edges
from workers.unit_lm.pgslm.model import PGSLM
from workers.unit_lm.pgslm.streams import DURATION_PAD, shifted_streams
from workers.untrusted.pickles import shown

_HEAD = "decoder.project_out_dim.weight"
_F0_TABLE = "decoder.embed_other_list.1.weight"


class FairseqPGSLM(FairseqLM[PGSLMConfig]):
    """Reads a pGSLM's checkpoint, and the edges of its F0 bins."""

    def recognises(self, checkpoint: FairseqCheckpoint) -> bool:
        """By its head or by the name of its architecture."""
        return _HEAD in checkpoint.tensors or str(checkpoint.model.get("_name", "")).startswith("transformer_ulm")

    def read(self, checkpoint: FairseqCheckpoint, files: OriginalFiles, *, units: int | None) -> ImportedLM:  # noqa: ARG002
        if files.dictionary is not None:
            raise BackboneError(f"{files.lm}: a pGSLM, whose tokens are the units themselves; leave --dict out")
        edges = read_f0_edges(files.f0_bins) if files.f0_bins else None
        return import_pgslm(checkpoint, f0_edges=edges, f0_mean=files.f0_mean or "speaker", heads=files.heads)

    def original(self, args: Namespace, config: PGSLMConfig) -> Any:
        from fairseq.models.transformer_ulm import TransformerUnitLanguageModel

        tokens = FairseqDictionary(config.vocabulary, config.pad)
        task = SimpleNamespace(
            source_dictionary=tokens,
            target_dictionary=tokens,
            channel_names=("token", "duration", "f0"),
            channel_sizes=config.channels,
            source_duration_dictionary=FairseqDictionary(config.duration_ids, DURATION_PAD),
            source_f0_dictionary=FairseqDictionary(config.f0_ids, config.f0_bins + 1),
            cfg=SimpleNamespace(
                discrete_duration=config.discrete,
                discrete_f0=config.discrete,
                ignore_duration_input=config.ignore_duration,
                ignore_f0_input=config.ignore_f0,
            ),
        )
        return TransformerUnitLanguageModel.build_model(args, task)

    def scores(self, original: Any, config: PGSLMConfig, tokens: Tensor, prosody: UnitProsody | None) -> Tensor:
        assert prosody is not None  # noqa: S101
        streams = [torch.from_numpy(stream[: len(tokens)])[None] for stream in shifted_streams(config, prosody)]
        return torch.cat(list(original(tokens[None], *streams).values()), dim=-1)[0]


def import_pgslm(
    checkpoint: FairseqCheckpoint,
    *,
    f0_edges: Mapping[int, tuple[float, ...]] | None = None,
    f0_mean: str = "speaker",
    heads: int | None = None,
) -> ImportedLM:
    """fairseq's ``transformer_ulm`` family: units are tokens 0 to V - 5, the four special tokens follow them.

    Args:
        checkpoint: of training, discrete or continuous prosody.
        f0_edges: edges between F0 bins by number of bins; for discrete prosody only.
        f0_mean: whose mean log F0 is subtracted where the checkpoint asks for one, ``speaker`` or ``utterance``.
        heads: as of ``import_gslm``.

    Raises:
        BackboneError: as of ``import_gslm``, or the settings of its streams cannot be followed.
    """
    tensors = prepared(checkpoint)
    units = tensors[EMBEDDING].shape[0] - SPECIAL_IDS
    config = checked(
        checkpoint,
        PGSLMConfig,
        vocabulary=units + SPECIAL_IDS,
        bos=units,
        pad=units + 1,
        eos=units + 2,
        **sizes(checkpoint, tensors, heads),
        **_stream_settings(checkpoint, tensors, f0_edges=f0_edges, f0_mean=f0_mean),
    )
    with torch.device("meta"):
        lm = PGSLM(config)
    return ImportedLM(config, converted(checkpoint, lm, tensors), tuple(range(units)), notes(checkpoint, tensors))


def _stream_settings(
    checkpoint: FairseqCheckpoint,
    tensors: Mapping[str, Tensor],
    *,
    f0_edges: Mapping[int, tuple[float, ...]] | None,
    f0_mean: str,
) -> dict[str, Any]:
    """The fields of ``PGSLMConfig`` that its task states.

    Raises:
        BackboneError: a setting is missing, or asks for streams that ``PGSLM`` does not have; discrete F0
            without its bins, or bins without discrete F0.
    """
    place = checkpoint.place
    discrete = checkpoint.flag("discrete_duration")
    _expect(checkpoint, "discrete_f0", checkpoint.flag("discrete_f0"), discrete)
    _expect(checkpoint, "log_f0", checkpoint.flag("log_f0"), True)
    _expect(checkpoint, "stream_shifts", checkpoint.task.get("stream_shifts"), "1,1")
    settings: dict[str, Any] = {
        "streams": "discrete" if discrete else "continuous",
        "ignore_duration": checkpoint.flag("ignore_duration_input"),
        "ignore_f0": checkpoint.flag("ignore_f0_input"),
        "prosody": ProsodySettings.model_validate(
            {
                "f0_mean": f0_mean if checkpoint.flag("normalize_f0_mean") else "none",
                "f0_std": checkpoint.flag("normalize_f0_std"),
                "interpolate": checkpoint.flag("interpolate_f0"),
            }
        ),
    }
    if not discrete:
        if f0_edges is not None:
            raise BackboneError(f"{place}: continuous F0 has no bins; leave --f0-bins out")
        return settings
    if f0_edges is None:
        raise BackboneError(
            f"{place}: discrete F0 needs the edges of its bins; give mean_norm_log_f0_seg_bin.th with --f0-bins"
        )
    bins = len(table) - SPECIAL_IDS if (table := tensors.get(_F0_TABLE)) is not None and table.dim() else 32
    if bins not in f0_edges:
        raise BackboneError(
            f"{place}: {bins} F0 bins, but --f0-bins has edges for {', '.join(map(str, f0_edges))}; "
            "give the file that this model was trained with"
        )
    return {**settings, "duration_cap": checkpoint.count("max_token_duration"), "f0_edges": f0_edges[bins]}


def _expect(checkpoint: FairseqCheckpoint, name: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise BackboneError(
            f"{checkpoint.place}: cfg.task.{name} is {shown(found)}, but this model reads {wanted!r}; "
            "name one of the published pGSLM checkpoints"
        )
