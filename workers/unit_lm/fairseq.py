"""What the original unit LMs of fairseq have in common, read strictly, tensor by tensor.

A checkpoint is believed only as far as it fits: its settings must describe the one architecture that
``TransformerLM`` computes, and its tensors must be exactly that architecture's. What is missing, extra or misshapen is
an error that names it as the checkpoint does.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from infra.errors import BackboneError
from infra.printable import first_of, in_ascii
from workers.fairseq.checkpoint import FairseqCheckpoint
from workers.fairseq.model_kinds import check_kind
from workers.fairseq.original_files import OriginalFiles
from workers.speech.unit_prosody import UnitProsody
from workers.unit_lm.transformer import TransformerLM
from workers.unit_lm.unit_lm import UnitLMConfig
from workers.untrusted.pickles import shown

EMBEDDING = "decoder.embed_tokens.weight"
OUTPUT = "decoder.output_projection.weight"
VERSION = "decoder.version"
NOT_TRAINED = frozenset({VERSION, "decoder.embed_positions._float_tensor"})

_TOP = {
    "embed": "decoder.embed_tokens",
    "norm": "decoder.layer_norm",
    "head": "decoder.project_out_dim",
    "duration_embed": "decoder.embed_other_list.0",
    "f0_embed": "decoder.embed_other_list.1",
    "duration_proj": "decoder.proj_other_list.0",
    "f0_proj": "decoder.proj_other_list.1",
}
_IN_LAYER = {
    "attention_norm": "self_attn_layer_norm",
    "ffn_norm": "final_layer_norm",
    **{name: f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")},
}
# As ``TransformerDecoder.upgrade_state_dict_named`` renames them; place 1 is that of attention to an encoder.
_NUMBERED_NORMS = {"0": "self_attn_layer_norm", "2": "final_layer_norm"}
_NUMBERED_NORM = re.compile(r"(decoder\.layers\.\d{1,4}\.)layer_norms\.([02])\.(weight|bias)")
_FUSED = re.compile(r"(decoder\.layers\.\d{1,4}\.self_attn\.)in_proj_(weight|bias)")
_LAYER = re.compile(r"decoder\.layers\.(\d{1,4})\.")


def original_name(name: str) -> str:
    """fairseq's name of a tensor of ``TransformerLM``."""
    parts = name.split(".")
    if parts[0] == "layers":
        return f"decoder.layers.{parts[1]}.{_IN_LAYER.get(parts[2], parts[2])}.{parts[3]}"
    return f"{_TOP[parts[0]]}.{parts[1]}"


def upgraded(tensors: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """The tensors under today's names: fused query, key and value projections apart, layer norms by name.

    Raises:
        BackboneError: a fused projection does not split into three, or a tensor stands there under both names.
    """
    found: dict[str, Tensor] = {}

    def put(name: str, tensor: Tensor) -> None:
        if name in found:
            raise BackboneError(f"{place}: {name} stands there under two names; fetch the checkpoint again")
        found[name] = tensor

    for name, tensor in tensors.items():
        if norm := _NUMBERED_NORM.fullmatch(name):
            put(f"{norm[1]}{_NUMBERED_NORMS[norm[2]]}.{norm[3]}", tensor)
        elif fused := _FUSED.fullmatch(name):
            if tensor.dim() == 0 or tensor.shape[0] % 3:
                raise BackboneError(
                    f"{place}: {name} of shape {tuple(tensor.shape)} does not split into queries, keys and values; "
                    "fetch the checkpoint again"
                )
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                put(f"{fused[1]}{part}_proj.{fused[2]}", rows)
        else:
            put(name, tensor)
    return found


def layer_count(tensors: Mapping[str, Tensor]) -> int:
    """How many layers the tensors belong to."""
    return len({match[1] for name in tensors if (match := _LAYER.match(name))})


ARCHITECTURE: Final[Mapping[str, Any]] = {
    "activation_fn": "relu",
    "decoder_normalize_before": True,
    "no_decoder_final_norm": False,
    "decoder_learned_pos": False,
    "no_token_positional_embeddings": False,
    "no_scale_embedding": False,
    "layernorm_embedding": False,
    "share_decoder_input_output_embed": True,
    "adaptive_input": False,
    "adaptive_softmax_cutoff": None,
    "character_embeddings": False,
    "base_layers": 0,
    **{f"scale_{part}": False for part in ("fc", "attn", "heads", "resids")},
}
"""Settings of fairseq's language models that change what is computed, with the values of ``TransformerLM``."""
_SHOWN = 5
_ACCEPTED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class ImportedLM:
    """A unit LM of an original checkpoint.

    Attributes:
        config: kind, sizes and special ids.
        tensors: by the names of this project, float32.
        unit_tokens: token of each unit.
        notes: what a user should know, though nothing is wrong.
    """

    config: UnitLMConfig
    tensors: Mapping[str, NDArray[np.float32]]
    unit_tokens: tuple[int, ...]
    notes: tuple[str, ...] = ()


_Config = TypeVar("_Config", bound=UnitLMConfig)


class FairseqLM(ABC, Generic[_Config]):
    """How the original checkpoints of one kind are read, and fairseq's own model of them made."""

    @abstractmethod
    def recognises(self, checkpoint: FairseqCheckpoint) -> bool:
        """Whether it is a checkpoint of this kind."""

    @abstractmethod
    def read(self, checkpoint: FairseqCheckpoint, files: OriginalFiles, *, units: int | None) -> ImportedLM:
        """The LM of a checkpoint.

        Args:
            checkpoint: of training.
            files: where the other files are, and what none of them says.
            units: how many units the tokenizer has; ``None``: as many as the LM knows.

        Raises:
            BackboneError: the files are of another model, do not go together, or anything in them is missing, extra,
                misshapen or not finite.
        """

    @abstractmethod
    def original(self, args: Namespace, config: _Config) -> Any:
        """fairseq's model of these arguments, with undefined weights; fairseq must be installed."""

    @abstractmethod
    def scores(self, original: Any, config: _Config, tokens: Tensor, prosody: UnitProsody | None) -> Tensor:
        """All scores of fairseq's model for one row.

        Args:
            original: of the method of this name.
            config: of the LM.
            tokens: int64 [N], the start token first.
            prosody: of the N - 1 units; ``None`` for an LM of units alone.

        Returns:
            float32 [N, config.outputs].
        """


class FairseqDictionary:
    """What fairseq's models ask of a dictionary."""

    def __init__(self, size: int, pad: int) -> None:
        self._size, self._pad = size, pad

    def __len__(self) -> int:
        return self._size

    def pad(self) -> int:
        return self._pad

    def unk(self) -> int:
        return self._size - 1


def prepared(checkpoint: FairseqCheckpoint) -> dict[str, Tensor]:
    """The tensors under today's names, of a model that ``TransformerLM`` can compute.

    Raises:
        BackboneError: it is another model.
    """
    place = checkpoint.place
    check_kind(checkpoint.tensors, place, "unit LM")
    tensors = upgraded(checkpoint.tensors, place)
    if EMBEDDING not in tensors or tensors[EMBEDDING].dim() != 2:
        raise BackboneError(f"{place}: no unit LM, for {EMBEDDING} is missing; name its checkpoint_best.pt")
    version = tensors.get(VERSION)
    if version is None or version.numel() != 1 or version.is_complex() or not version.item() > 2:
        raise BackboneError(
            f"{place}: {VERSION} is missing or at most 2, a model without the final layer norm that this LM has; "
            "train it again with a fairseq of 2018 or later"
        )
    for name, wanted in ARCHITECTURE.items():
        found = checkpoint.model.get(name, wanted)
        if found != wanted:
            raise BackboneError(
                f"{place}: cfg.model.{name} is {shown(found)}, but the unit LM stands for {wanted!r}; "
                "name a checkpoint of the architecture transformer_lm_big or transformer_ulm_big"
            )
    return tensors


def notes(checkpoint: FairseqCheckpoint, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """What a user should know of a checkpoint, though nothing is wrong."""
    double = any(tensor.dtype is torch.float64 for tensor in tensors.values())
    rounded = (f"{checkpoint.place}: its float64 weights were rounded to float32",) if double else ()
    return (*checkpoint.notes, *rounded)


def sizes(checkpoint: FairseqCheckpoint, tensors: Mapping[str, Tensor], heads: int | None) -> dict[str, int]:
    """Layers, dimensions and heads: as the settings state them, or else as the tensors show.

    Raises:
        BackboneError: the heads are unknown, or settings and tensors contradict each other.
    """
    stated = checkpoint.model.get("decoder_attention_heads")
    if type(stated) is not int:
        if heads is None:
            raise BackboneError(
                f"{checkpoint.place}: cfg.model.decoder_attention_heads is missing, and no tensor tells it; "
                "give the number of attention heads with --heads"
            )
        stated = heads
    elif heads is not None and heads != stated:
        raise BackboneError(f"{checkpoint.place}: it states {stated} attention heads, not {heads}; leave --heads out")
    first = tensors.get("decoder.layers.0.fc1.weight")
    found = {
        "layers": layer_count(tensors),
        "dim": tensors[EMBEDDING].shape[1],
        "ffn_dim": first.shape[0] if first is not None and first.dim() else 0,
    }
    for size, setting in (("layers", "layers"), ("dim", "embed_dim"), ("ffn_dim", "ffn_embed_dim")):
        said = checkpoint.model.get(f"decoder_{setting}", found[size])
        if said != found[size]:
            raise BackboneError(
                f"{checkpoint.place}: cfg.model.decoder_{setting} is {shown(said)}, but its tensors are of "
                f"{found[size]}; fetch the checkpoint again"
            )
    return {**found, "heads": stated}


def checked(checkpoint: FairseqCheckpoint, kind: type[_Config], **settings: Any) -> _Config:
    """A configuration of these settings.

    Raises:
        BackboneError: they are none.
    """
    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BackboneError(
            f"{checkpoint.place}: {field or 'sizes'}: {first['msg']}; name the checkpoint of a unit LM"
        ) from error


def converted(
    checkpoint: FairseqCheckpoint, lm: TransformerLM, tensors: Mapping[str, Tensor]
) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the module, float32, under its name there.

    Args:
        checkpoint: whose tensors they are.
        lm: the module, on any device.
        tensors: under fairseq's names of today.

    Raises:
        BackboneError: a tensor is missing, extra, misshapen or not finite.
    """
    wanted = {original_name(name): (name, tensor.shape) for name, tensor in lm.state_dict().items()}
    found = {name: tensor for name, tensor in tensors.items() if name not in NOT_TRAINED}
    output = found.pop(OUTPUT, tensors[EMBEDDING])
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{in_ascii(name)} is not part of this LM" for name in found if name not in wanted]
    for name, (_, shape) in wanted.items():
        if name not in found:
            continue
        tensor = found[name]
        if tensor.shape != shape:
            wrong.append(f"{name} has shape {tuple(tensor.shape)} instead of {tuple(shape)}")
        elif tensor.dtype not in _ACCEPTED:
            wrong.append(f"{name} is {tensor.dtype} instead of floating point")
        elif not tensor.float().isfinite().all():
            wrong.append(f"{name} holds numbers that are not finite, or too large for float32")
    if not torch.equal(output, tensors[EMBEDDING]):
        wrong.append(f"{OUTPUT} differs from {EMBEDDING}, to which this LM ties it")
    if wrong:
        raise BackboneError(
            f"{checkpoint.place}: {first_of(wrong, _SHOWN, '; ')}; name the complete checkpoint of a unit LM"
        )
    # Copies, so that nothing depends on the file that the tensors are mapped from.
    return {ours: np.array(found[name].float().numpy(), order="C") for name, (ours, _) in wanted.items()}
