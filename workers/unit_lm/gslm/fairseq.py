"""A GSLM out of fairseq's files: the ``transformer_lm`` family over units, and its dictionary."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from infra.errors import BackboneError
from workers.fairseq.checkpoint import FairseqCheckpoint
from workers.fairseq.original_files import OriginalFiles
from workers.speech.unit_prosody import UnitProsody
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
from workers.unit_lm.gslm.config import GSLMConfig
from workers.unit_lm.gslm.dictionary import UnitDictionary, read_dictionary
from workers.unit_lm.gslm.model import GSLM


class FairseqGSLM(FairseqLM[GSLMConfig]):
    """Reads a GSLM's checkpoint and its ``dict.txt``."""

    def recognises(self, checkpoint: FairseqCheckpoint) -> bool:  # noqa: ARG002
        """Every one: what does not fit a GSLM is an error that says so."""
        return True

    def read(self, checkpoint: FairseqCheckpoint, files: OriginalFiles, *, units: int | None) -> ImportedLM:
        for option, value in (("--f0-bins", files.f0_bins), ("--f0-mean", files.f0_mean)):
            if value is not None:
                raise BackboneError(f"{files.lm}: a unit LM without F0, so {option} means nothing; leave it out")
        if files.dictionary is None:
            raise BackboneError(
                f"{files.lm}: a unit's token is known from its dictionary alone; give dict.txt with --dict"
            )
        dictionary = read_dictionary(files.dictionary)
        lm = import_gslm(checkpoint, dictionary, heads=files.heads)
        dictionary = dictionary.of(units or dictionary.units)
        return replace(lm, unit_tokens=dictionary.unit_tokens, notes=(*lm.notes, *dictionary.notes))

    def original(self, args: Namespace, config: GSLMConfig) -> Any:
        from fairseq.models.transformer_lm import TransformerLanguageModel

        tokens = FairseqDictionary(config.vocabulary, config.pad)
        task = SimpleNamespace(source_dictionary=tokens, target_dictionary=tokens)
        return TransformerLanguageModel.build_model(args, task)

    def scores(self, original: Any, config: GSLMConfig, tokens: Tensor, prosody: UnitProsody | None) -> Tensor:  # noqa: ARG002
        found: Tensor = original(tokens[None])[0][0]
        return found


def import_gslm(checkpoint: FairseqCheckpoint, dictionary: UnitDictionary, *, heads: int | None = None) -> ImportedLM:
    """fairseq's ``transformer_lm`` family over units.

    Args:
        checkpoint: of training, float32 or half precision, of any age.
        dictionary: its ``dict.txt``; units have no other place where their tokens are stated.
        heads: attention heads, for a checkpoint that does not state them; no tensor tells them.

    Raises:
        BackboneError: it is another kind of model, or anything is missing, extra, misshapen or not finite.
    """
    tensors = prepared(checkpoint)
    rows = tensors[EMBEDDING].shape[0]
    if rows != dictionary.vocabulary:
        raise BackboneError(
            f"{dictionary.place}: {dictionary.vocabulary} tokens with the 4 special ones, but {EMBEDDING} of "
            f"{checkpoint.place} has {rows} rows; name the dict.txt of this LM"
        )
    config = checked(checkpoint, GSLMConfig, vocabulary=rows, **sizes(checkpoint, tensors, heads))
    with torch.device("meta"):
        lm = GSLM(config)
    return ImportedLM(config, converted(checkpoint, lm, tensors), dictionary.unit_tokens, notes(checkpoint, tensors))
