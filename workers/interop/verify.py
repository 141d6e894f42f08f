"""fairseq itself as the witness of an import: its forward pass and this project's on the same random units, and
its HuBERT features of the same noise."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray

from infra.errors import BackboneError
from workers.fairseq.checkpoint import FairseqCheckpoint
from workers.fairseq.installed import fairseq_at_hand
from workers.interop.hubert_weights import TORCHAUDIO, as_fairseq
from workers.speech.hubert.config import hubert_config
from workers.speech.hubert.encoder import HubertEncoder
from workers.speech.hubert.tokenizer import HubertTokenizer
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.engine.rows import Rows
from workers.unit_lm.fairseq import ARCHITECTURE, NOT_TRAINED, VERSION, ImportedLM
from workers.unit_lm.kinds import build_lm, kind_of

MOST_ROUNDING = 1e-3
"""Differences of float32 sums in another order stay far below it, a wrong tensor far above."""


def check_difference(difference: float, what: str) -> None:
    """Refuse an import that computes something else than fairseq does.

    Raises:
        BackboneError: the difference is more than rounding.
    """
    if not difference <= MOST_ROUNDING:
        raise BackboneError(
            f"the imported {what} differ from fairseq's by up to {difference:.2g}; nothing was written, "
            "report it with the name of the checkpoint"
        )


_SAMPLES = (400, 719, 16_000, 40_000)
_NOISE_SEED = 20
_HEADS = ("final_proj.", "label_embs_concat")


@torch.no_grad()
def features_difference(checkpoint: FairseqCheckpoint, tokenizer: HubertTokenizer) -> float:
    """The largest absolute difference between fairseq's features and the tokenizer's, at the layer that is used.

    Raises:
        MissingExtra: fairseq is not installed.
    """
    config = hubert_config(tokenizer.config())
    original_tensors = checkpoint.tensors
    if TORCHAUDIO in original_tensors:
        original_tensors = as_fairseq(original_tensors, config)
    encoder = HubertEncoder(config, tokenizer.tensors())
    rng = np.random.default_rng(_NOISE_SEED)
    with fairseq_at_hand():
        from fairseq.models.hubert.hubert import HubertConfig, HubertModel

        sizes = HubertConfig(
            label_rate=config.sample_rate / config.hop_samples,
            encoder_layers=checkpoint.model.get("encoder_layers", config.layer),
            encoder_embed_dim=config.dim,
            encoder_ffn_embed_dim=config.ffn_dim,
            encoder_attention_heads=config.heads,
            # fairseq evaluates this text as Python, so it is made of checked numbers.
            conv_feature_layers=str([tuple(int(number) for number in layer) for layer in config.conv_layers]),
            conv_pos=config.pos_conv_kernel,
            conv_pos_groups=config.pos_conv_groups,
        )
        original = HubertModel(sizes, SimpleNamespace(sample_rate=config.sample_rate), [None])
        original.remove_pretraining_modules()
        tensors = {name: tensor.float() for name, tensor in original_tensors.items() if not name.startswith(_HEADS)}
        # Used in training alone; torchaudio leaves it out.
        tensors.setdefault("mask_emb", torch.zeros(config.dim))
        original.load_state_dict(tensors, strict=True)
        original.eval()
        differences = []
        for samples in _SAMPLES:
            wave = rng.uniform(-0.5, 0.5, size=samples).astype(np.float32)
            theirs, _ = original.extract_features(torch.from_numpy(wave)[None], mask=False, output_layer=config.layer)
            differences.append(float((encoder.features([wave])[0] - theirs[0]).abs().max()))
    return max(differences)


_LENGTHS = (1, 7, 40, 120)
_SEED = 20


@torch.no_grad()
def logits_difference(checkpoint: FairseqCheckpoint, imported: ImportedLM) -> float:
    """The largest absolute difference between fairseq's scores and those of the imported LM, over seeded random units.

    All outputs count: those of durations and F0 too.

    Raises:
        MissingExtra: fairseq is not installed.
    """
    config, importer = imported.config, kind_of(imported.config).fairseq
    assert importer is not None  # noqa: S101
    with torch.device("meta"):
        lm = build_lm(config)
    lm.load_state_dict({name: torch.from_numpy(array) for name, array in imported.tensors.items()}, assign=True)
    lm.eval()
    with fairseq_at_hand():
        from fairseq.models.transformer_lm import base_lm_architecture

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
        original = importer.original(args, config)
    tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items() if name not in NOT_TRAINED}
    original.load_state_dict({**tensors, VERSION: checkpoint.tensors[VERSION]}, strict=True)
    original.eval()
    rng = np.random.default_rng(_SEED)
    differences = []
    for length in _LENGTHS:
        units = np.array(imported.unit_tokens)[rng.integers(len(imported.unit_tokens), size=length)]
        prosody = None if config.prosody_settings is None else _random_prosody(length, rng)
        rows = Rows.of_units([units], None if prosody is None else [prosody], start=config.start, device="cpu")
        ours = lm.logits(lm(lm.embed_rows(rows), rows.packing))
        theirs = importer.scores(original, config, rows.tokens, prosody)
        differences.append(float((theirs - ours).abs().max()))
    return max(differences)


def _random_prosody(units: int, rng: np.random.Generator) -> UnitProsody:
    f0: NDArray[np.float32] = rng.normal(size=units).astype(np.float32)
    return UnitProsody(rng.integers(1, 40, size=units).astype(np.int32), f0)
