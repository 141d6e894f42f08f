"""What fairseq calls the tensors of a unit LM, now and in its earliest versions."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from infra.errors import BackboneError

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
