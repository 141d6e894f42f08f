"""Tensor names as the model itself has them, without those of what was wrapped around it when it was saved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from torch import Tensor

from infra.errors import BackboneError
from infra.printable import in_ascii

# Of DistributedDataParallel and DataParallel, torch.compile, DeepSpeed, FairScale and FSDP: no model has such parts.
_WRAPPERS: Final = frozenset(
    {
        "module",
        "_orig_mod",
        "_forward_module",
        "_fpw_module",
        "_fsdp_wrapped_module",
        "_checkpoint_wrapped_module",
    }
)
# Every model that is read here has one of these, right at its root; below w2v_model it is a part of another model.
_ANCHOR: Final = re.compile(
    r"(?!.*\bw2v_)(.*\.)?(?:decoder\.(?:embed_tokens|sep_embed)|feature_extractor\.conv_layers\.0\.(?:0|conv))\.weight"
)
# What averaging of weights counts beside them.
_COUNTERS: Final = frozenset({"n_averaged"})


class BareNames(NamedTuple):
    """Tensors by their bare names.

    Attributes:
        tensors: the same ones.
        note: what was taken off, for the user; empty if nothing was.
    """

    tensors: dict[str, Tensor]
    note: str


def bare_names(tensors: Mapping[str, Tensor], place: str) -> BareNames:
    """Take off what wrappers put before and between the parts of names.

    Args:
        tensors: by the names of a checkpoint.
        place: of the checkpoint, for errors and the note.

    Raises:
        BackboneError: there are several models side by side, or two tensors would have one name.
    """
    taken: dict[str, None] = {}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        wrappers = [part for part in parts if part in _WRAPPERS]
        taken |= dict.fromkeys(f"{part}." for part in wrappers)
        bare = ".".join(part for part in parts if part not in _WRAPPERS) if wrappers else name
        if wrappers and bare in tensors:
            raise BackboneError(f"{place}: {in_ascii(bare)} stands there under two names; fetch the checkpoint again")
        found[bare] = tensor
    if len(found) < len(tensors):
        raise BackboneError(f"{place}: two tensors have one name without 'module.'; fetch the checkpoint again")
    if taken:
        found = {name: tensor for name, tensor in found.items() if name not in _COUNTERS}
    roots = list(dict.fromkeys(match[1] or "" for name in found if (match := _ANCHOR.fullmatch(name))))
    if len(roots) > 1 and "" not in roots:
        raise BackboneError(
            f"{place}: several models, under {' and '.join(map(in_ascii, roots[:3]))}; save one of them alone"
        )
    if len(roots) == 1 and roots[0] and all(name.startswith(roots[0]) for name in found):
        found = {name.removeprefix(roots[0]): tensor for name, tensor in found.items()}
        taken[roots[0]] = None
    listed = " and ".join(f"'{in_ascii(part)}'" for part in taken)
    return BareNames(found, listed and f"{place}: {listed} of wrappers was taken off the names of its tensors")
