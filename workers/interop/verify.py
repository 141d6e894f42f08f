"""fairseq itself as the witness of an import: its forward pass and this project's on the same random units, and
its HuBERT features of the same noise."""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infra.errors import BackboneError, MissingExtra, SpeechPromptError
from workers.interop.checkpoint import FairseqCheckpoint
from workers.interop.hubert_weights import TORCHAUDIO, as_fairseq
from workers.interop.unit_lm import ARCHITECTURE, NOT_TRAINED, VERSION, ImportedLM
from workers.speech.hubert.config import hubert_config
from workers.speech.hubert.encoder import HubertEncoder
from workers.speech.hubert.tokenizer import HubertTokenizer
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.gslm import UnitLMConfig
from workers.unit_lm.kinds import build_lm
from workers.unit_lm.packing import Packing
from workers.unit_lm.pgslm import MultistreamConfig, MultistreamLM, ProsodyInputs, shifted_streams

MOST_ROUNDING = 1e-3
"""Differences of float32 sums in another order stay far below it, a wrong tensor far above."""


NEWEST_PYTHON = (3, 12)
"""For which there are builds of ve-fairseq."""


def check_installed() -> None:
    """Look for fairseq without the seconds that importing it takes.

    Raises:
        MissingExtra: it is not installed.
        BackboneError: this Python is too new for it.
    """
    if find_spec("fairseq") is None:
        raise _absent()


def _absent() -> SpeechPromptError:
    if sys.version_info[:2] <= NEWEST_PYTHON:
        return MissingExtra("fairseq", "fairseq")
    newest = ".".join(map(str, NEWEST_PYTHON))
    return BackboneError(f"--verify: there is no fairseq for a Python newer than {newest}; use that, or leave it out")


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


@contextmanager
def fairseq_at_hand() -> Iterator[None]:
    """Turns a missing fairseq into a sentence, and keeps its warnings and log lines out of the output.

    Raises:
        MissingExtra: it is not installed.
        BackboneError: this Python is too new for it.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # The upstream is archived; nobody will mend what it warns of.
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise _absent() from error
    finally:
        logging.disable(disabled)


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
