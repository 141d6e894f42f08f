"""A fairseq checkpoint: its tensors, and the settings of its model and task, in both of its layouts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from torch import Tensor

from infra.errors import BackboneError
from infra.printable import in_ascii
from workers.untrusted.pickled_tensors import PickledTensor
from workers.untrusted.pickles import Inert, shown
from workers.untrusted.torch_file import check_tensors, read_torch_file

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


# Where programs put the state dict of a model: fairseq, Lightning, many others, DeepSpeed.
_STATES = ("model", "state_dict", "model_state_dict", "module")
_AVERAGED = re.compile(r"(^|_)ema(_|$)")
_WRAPPINGS, _DEEPEST_STATE, _SHOWN = 4, 4, 5


@dataclass(frozen=True)
class FairseqCheckpoint:
    """What was read.

    Attributes:
        place: where, for errors.
        tensors: ``model``, on the CPU, of any dtype; neither names nor shapes are checked.
        model: settings of the model by name; ``_name`` is the architecture.
        task: settings of the task by name; with the old layout the same ones.
        notes: what a user should know about the file, though nothing is wrong.
    """

    place: str
    tensors: Mapping[str, Tensor]
    model: Mapping[str, Any]
    task: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def flag(self, name: str) -> bool:
        """A yes-or-no setting of the task.

        Raises:
            BackboneError: it is not there.
        """
        return bool(self._setting(self.task, "task", name, bool))

    def count(self, name: str) -> int:
        """A whole number among the settings of the task.

        Raises:
            BackboneError: it is not there.
        """
        return int(self._setting(self.task, "task", name, int))

    def _setting(self, settings: Mapping[str, Any], section: str, name: str, kind: type) -> Any:
        value = settings.get(name)
        if type(value) is not kind:
            raise BackboneError(
                f"{self.place}: cfg.{section}.{name} is {shown(value)} instead of {kind.__name__}; "
                "name the checkpoint that training wrote, with its settings"
            )
        return value


def read_checkpoint(uri: str) -> FairseqCheckpoint:
    """A checkpoint with ``cfg`` (a dictionary or an omegaconf one), or the older ``args`` (a namespace).

    Its tensors may also be where other programs put them, and have the names that wrappers give them.

    Raises:
        BackboneError: there is none, it is damaged, or it holds what a checkpoint does not.
        StorageError: the place cannot be read.
    """
    content, notes = read_torch_file(uri)
    state, where = _state(content)
    if state is None:
        held = ", ".join(map(shown, list(content)[:_SHOWN])) if isinstance(content, dict) else shown(content)
        raise BackboneError(
            f"{uri}: no checkpoint of fairseq, which has an entry 'model' of tensors ({held or 'nothing'} is there); "
            "name one that training wrote"
        )
    tensors, renamed = bare_names(check_tensors(state, f"{uri}: {where}" if where else uri), uri)
    found = (*notes, *([renamed] if renamed else ()))
    if averaged := _averaged(content):
        found += (f"{uri}: the averaged weights in '{averaged}' are left out, those in '{where}' are used",)
    cfg = entries(content.get("cfg"))
    if cfg:
        return FairseqCheckpoint(uri, tensors, entries(cfg.get("model")), entries(cfg.get("task")), found)
    settings = entries(content.get("args"))
    if "arch" in settings:
        settings["_name"] = settings["arch"]
    return FairseqCheckpoint(uri, tensors, settings, settings, found)


def _state(content: object) -> tuple[dict[Any, Any] | None, str]:
    """The state dict of a model and where it is: the content itself, or an entry of it, or of that one."""
    place: list[str] = []
    for _ in range(_DEEPEST_STATE):
        if not isinstance(content, dict):
            break
        inner = next((name for name in _STATES if isinstance(content.get(name), dict)), None)
        if inner is None:
            bare = any(isinstance(value, PickledTensor) for value in content.values())
            return (content if bare or place else None), ".".join(place)
        place.append(inner)
        content = content[inner]
    return None, ""


def _averaged(content: Mapping[Any, Any]) -> str:
    """Name of the entry that holds averaged weights beside the trained ones; empty if there is none."""
    places = {**content, **(extra if isinstance(extra := content.get("extra_state"), dict) else {})}
    return next(
        (
            name
            for name in places
            if isinstance(name, str) and _AVERAGED.search(name) and isinstance(places[name], dict)
        ),
        "",
    )


def entries(value: object) -> dict[str, Any]:
    """Settings by name out of what argparse and omegaconf pickle, or of a dictionary; empty if it is none of them.

    Goes down one level and no further: a few bytes of pickle can nest containers without end.
    """
    found = _unwrapped(value)
    if not isinstance(found, dict):
        return {}
    return {name: _unwrapped(entry) for name, entry in found.items() if isinstance(name, str)}


def _unwrapped(value: object) -> Any:
    """A value out of the records around it."""
    for _ in range(_WRAPPINGS):
        if not isinstance(value, Inert):
            break
        if isinstance(value.state, dict):
            # omegaconf keeps the entries of its containers in _content, and values in nodes of their own in _val.
            value = value.state.get("_content", value.state.get("_val", value.state))
        elif value.state is None and len(value.arguments) == 1:
            # A member of an enumeration pickles as its type, called with its value.
            value = value.arguments[0]
        else:
            break
    return value
