"""A fairseq checkpoint: its tensors, and the settings of its model and task, in both of its layouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from infra.errors import BackboneError
from workers.backbone.safe_checkpoint import check_tensors, read_torch_file
from workers.inert import Inert, shown

_WRAPPINGS = 4


@dataclass(frozen=True)
class FairseqCheckpoint:
    """What was read.

    Attributes:
        place: where, for errors.
        tensors: ``model``, on the CPU, of any dtype; neither names nor shapes are checked.
        model: settings of the model by name; ``_name`` is the architecture.
        task: settings of the task by name; with the old layout the same ones.
    """

    place: str
    tensors: Mapping[str, Tensor]
    model: Mapping[str, Any]
    task: Mapping[str, Any]

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

    Raises:
        BackboneError: there is none, it is damaged, or it holds what a checkpoint does not.
        StorageError: the place cannot be read.
    """
    return as_checkpoint(read_torch_file(uri), uri)


def as_checkpoint(content: object, uri: str) -> FairseqCheckpoint:
    """What ``read_torch_file`` read, taken for a checkpoint.

    Raises:
        BackboneError: it holds what a checkpoint does not.
    """
    if not isinstance(content, dict) or "model" not in content:
        raise BackboneError(f"{uri}: no checkpoint of fairseq, which has an entry 'model'; name one that it wrote")
    tensors = check_tensors(content["model"], f"{uri}: model")
    cfg = entries(content.get("cfg"))
    if cfg:
        return FairseqCheckpoint(uri, tensors, entries(cfg.get("model")), entries(cfg.get("task")))
    settings = entries(content.get("args"))
    if "arch" in settings:
        settings["_name"] = settings["arch"]
    return FairseqCheckpoint(uri, tensors, settings, settings)


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
