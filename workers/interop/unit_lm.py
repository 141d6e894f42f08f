"""The original unit LMs, GSLM and pGSLM, as this project's: strictly, tensor by tensor.

A checkpoint is believed only as far as it fits: its settings must describe the one architecture that ``UnitLM``
computes, and its tensors must be exactly that architecture's. What is missing, extra or misshapen is an error
that names it as the checkpoint does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from infra.errors import BackboneError
from infra.printable import first_of, in_ascii
from workers.interop.checkpoint import FairseqCheckpoint
from workers.interop.dictionary import UnitDictionary
from workers.interop.model_kinds import check_kind
from workers.interop.stream_settings import stream_settings
from workers.unit_lm.gslm import UnitLMConfig
from workers.unit_lm.kinds import build_lm
from workers.unit_lm.pgslm import SPECIAL_IDS, MultistreamConfig
from workers.untrusted.pickles import shown

EMBEDDING = "decoder.embed_tokens.weight"
OUTPUT = "decoder.output_projection.weight"
VERSION = "decoder.version"
HEAD = "decoder.project_out_dim.weight"
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
    """fairseq's name of a tensor of ``UnitLM`` or ``MultistreamLM``."""
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
"""Settings of fairseq's language models that change what is computed, and the values that ``UnitLM`` stands for."""
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


def is_multistream(checkpoint: FairseqCheckpoint) -> bool:
    """Whether it is a pGSLM: by its head or by the name of its architecture."""
    return HEAD in checkpoint.tensors or str(checkpoint.model.get("_name", "")).startswith("transformer_ulm")


def import_gslm(checkpoint: FairseqCheckpoint, dictionary: UnitDictionary, *, heads: int | None = None) -> ImportedLM:
    """fairseq's ``transformer_lm`` family over units.

    Args:
        checkpoint: of training, float32 or half precision, of any age.
        dictionary: its ``dict.txt``; units have no other place where their tokens are stated.
        heads: attention heads, for a checkpoint that does not state them; no tensor tells them.

    Raises:
        BackboneError: it is another kind of model, or anything is missing, extra, misshapen or not finite.
    """
    tensors = _prepared(checkpoint)
    rows = tensors[EMBEDDING].shape[0]
    if rows != dictionary.vocabulary:
        raise BackboneError(
            f"{dictionary.place}: {dictionary.vocabulary} tokens with the 4 special ones, but {EMBEDDING} of "
            f"{checkpoint.place} has {rows} rows; name the dict.txt of this LM"
        )
    config = _checked(checkpoint, UnitLMConfig, vocabulary=rows, **_sizes(checkpoint, tensors, heads))
    converted = _converted(checkpoint, config, tensors)
    return ImportedLM(config, converted, dictionary.unit_tokens, _notes(checkpoint, tensors))


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
    tensors = _prepared(checkpoint)
    units = tensors[EMBEDDING].shape[0] - SPECIAL_IDS
    config = _checked(
        checkpoint,
        MultistreamConfig,
        vocabulary=units + SPECIAL_IDS,
        bos=units,
        pad=units + 1,
        eos=units + 2,
        **_sizes(checkpoint, tensors, heads),
        **stream_settings(checkpoint, tensors, f0_edges=f0_edges, f0_mean=f0_mean),
    )
    converted = _converted(checkpoint, config, tensors)
    return ImportedLM(config, converted, tuple(range(units)), _notes(checkpoint, tensors))


def _prepared(checkpoint: FairseqCheckpoint) -> dict[str, Tensor]:
    """The tensors under today's names, of a model that ``UnitLM`` can compute."""
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


def _notes(checkpoint: FairseqCheckpoint, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    double = any(tensor.dtype is torch.float64 for tensor in tensors.values())
    rounded = (f"{checkpoint.place}: its float64 weights were rounded to float32",) if double else ()
    return (*checkpoint.notes, *rounded)


def _sizes(checkpoint: FairseqCheckpoint, tensors: Mapping[str, Tensor], heads: int | None) -> dict[str, int]:
    """Layers, dimensions and heads: as the settings state them, or else as the tensors show."""
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


_Config = TypeVar("_Config", bound=UnitLMConfig)


def _checked(checkpoint: FairseqCheckpoint, kind: type[_Config], **settings: Any) -> _Config:
    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BackboneError(
            f"{checkpoint.place}: {field or 'sizes'}: {first['msg']}; name the checkpoint of a unit LM"
        ) from error


def _converted(
    checkpoint: FairseqCheckpoint, config: UnitLMConfig, tensors: Mapping[str, Tensor]
) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the module, float32, under its name there."""
    with torch.device("meta"):
        wanted = {original_name(name): (name, tensor.shape) for name, tensor in build_lm(config).state_dict().items()}
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
