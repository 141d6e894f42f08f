"""fairseq itself as the witness of an import: its forward pass and this project's on the same random units.

fairseq's own loader would unpickle the checkpoint. Here its model is built from the checked sizes, and given the
tensors that were read safely; fairseq then renames and checks them in its own way.
"""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.backbone.fairseq_at_hand import fairseq_at_hand
from workers.backbone.fairseq_checkpoint import FairseqCheckpoint
from workers.backbone.fairseq_import import ARCHITECTURE, ImportedLM
from workers.backbone.fairseq_names import NOT_TRAINED, VERSION
from workers.backbone.lm_kinds import build_lm
from workers.backbone.multistream_config import MultistreamConfig
from workers.backbone.multistream_lm import MultistreamLM, ProsodyInputs
from workers.backbone.packing import Packing
from workers.backbone.streams import shifted_streams
from workers.backbone.unit_lm import UnitLMConfig
from workers.speech.unit_prosody import UnitProsody

_LENGTHS = (1, 7, 40, 120)
_SEED = 20


@torch.no_grad()
def logits_difference(checkpoint: FairseqCheckpoint, imported: ImportedLM) -> float:
    """The largest absolute difference between fairseq's scores and those of the imported LM, over seeded random units.

    All outputs count: those of durations and F0 too.

    Raises:
        MissingExtra: fairseq is not installed.
    """
    original = _original(checkpoint, imported.config)
    with torch.device("meta"):
        lm = build_lm(imported.config)
    lm.load_state_dict({name: torch.from_numpy(array) for name, array in imported.tensors.items()}, assign=True)
    lm.eval()
    rng = np.random.default_rng(_SEED)
    differences = []
    for length in _LENGTHS:
        units = rng.integers(len(imported.unit_tokens), size=length)
        tokens = torch.tensor([imported.config.start, *np.array(imported.unit_tokens)[units].tolist()])
        x = lm.embed_tokens(tokens)
        streams: tuple[Tensor, ...] = ()
        if isinstance(lm, MultistreamLM):
            streams = _streams(lm.config, length, rng)
            x = x + lm.prosody_terms(ProsodyInputs(*streams))
        ours = lm.logits(lm(x, Packing.of(np.array([length + 1]))))
        theirs = original(tokens[None], *(stream[None] for stream in streams))
        scores = torch.cat(list(theirs.values()), dim=-1) if isinstance(theirs, dict) else theirs[0]
        differences.append(float((scores[0] - ours).abs().max()))
    return max(differences)


def _original(checkpoint: FairseqCheckpoint, config: UnitLMConfig) -> Any:
    """fairseq's model with the checkpoint's tensors."""
    with fairseq_at_hand():
        from fairseq.models.transformer_lm import TransformerLanguageModel, base_lm_architecture
        from fairseq.models.transformer_ulm import TransformerUnitLanguageModel

        args = Namespace(
            **ARCHITECTURE,
            decoder_layers=config.layers,
            decoder_attention_heads=config.heads,
            decoder_ffn_embed_dim=config.ffn_dim,
            **{f"decoder_{place}_dim": config.dim for place in ("embed", "input", "output")},
            decoder_layers_to_keep=None,
            tie_adaptive_weights=False,
            max_target_positions=3072,
            tokens_per_sample=3072,
        )
        base_lm_architecture(args)
        task = _task(config)
        kind = TransformerUnitLanguageModel if isinstance(config, MultistreamConfig) else TransformerLanguageModel
        model = kind.build_model(args, task)
        tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items() if name not in NOT_TRAINED}
        model.load_state_dict({**tensors, VERSION: checkpoint.tensors[VERSION]}, strict=True)
        return model.eval()


def _task(config: UnitLMConfig) -> SimpleNamespace:
    """What fairseq's models ask of a task, without its data."""
    tokens = _Tokens(config.vocabulary, config.pad)
    task = SimpleNamespace(source_dictionary=tokens, target_dictionary=tokens)
    if isinstance(config, MultistreamConfig):
        task.channel_names, task.channel_sizes = ("token", "duration", "f0"), config.channels
        task.source_duration_dictionary = _Tokens(config.duration_ids, 0)
        task.source_f0_dictionary = _Tokens(config.f0_ids, config.f0_bins + 1)
        task.cfg = SimpleNamespace(
            discrete_duration=config.discrete,
            discrete_f0=config.discrete,
            ignore_duration_input=config.ignore_duration,
            ignore_f0_input=config.ignore_f0,
        )
    return task


class _Tokens:
    """What fairseq's models ask of a dictionary."""

    def __init__(self, size: int, pad: int) -> None:
        self._size, self._pad = size, pad

    def __len__(self) -> int:
        return self._size

    def pad(self) -> int:
        return self._pad

    def unk(self) -> int:
        return self._size - 1


def _streams(config: MultistreamConfig, length: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random durations and F0 of the begin and ``length`` units, as the LM takes them, 2 x [length + 1]."""
    f0: NDArray[np.float32] = rng.normal(size=length).astype(np.float32)
    prosody = UnitProsody(rng.integers(1, 40, size=length).astype(np.int32), f0)
    durations, pitch = (torch.from_numpy(stream[: length + 1]) for stream in shifted_streams(config, prosody))
    return durations, pitch
