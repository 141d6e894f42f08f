"""Checkpoints as other programs and other wrappers save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infra.errors import BackboneError
from workers.fairseq.checkpoint import read_checkpoint

STATE: dict[str, Tensor] = {
    "decoder.embed_tokens.weight": torch.arange(6.0).view(2, 3),
    "decoder.layers.0.fc1.bias": torch.ones(4),
    "decoder.version": torch.tensor([3.0]),
}


def _read(folder: Path, content: Any) -> Any:
    torch.save(content, folder / "lm.pt")
    return read_checkpoint(str(folder / "lm.pt"))


def _below(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in STATE.items()}


def _within(part: str, wrapper: str) -> dict[str, Tensor]:
    return {name.replace(part, f"{part}.{wrapper}", 1): tensor for name, tensor in STATE.items()}


@pytest.mark.parametrize(
    ("state", "taken"),
    [
        (_below("module."), "'module.'"),
        (_below("module.module."), "'module.'"),
        (_below("_orig_mod."), "'_orig_mod.'"),
        (_below("_forward_module."), "'_forward_module.'"),
        (_below("model."), "'model.'"),
        (_below("module.model."), "'module.' and 'model.'"),
        (_below("_forward_module.model._orig_mod."), "'_forward_module.' and '_orig_mod.' and 'model.'"),
        (_below("_fsdp_wrapped_module._checkpoint_wrapped_module."), "_fsdp_wrapped_module"),
        (_within("decoder", "_orig_mod"), "'_orig_mod.'"),
        (_within("decoder.layers.0", "module"), "'module.'"),
        (_below("lm.ulm."), "'lm.ulm.'"),
        ({**_below("module."), "n_averaged": torch.tensor(3)}, "'module.'"),
    ],
)
def test_names_lose_what_wrappers_add(tmp_path: Path, state: dict[str, Tensor], taken: str) -> None:
    found = _read(tmp_path, {"model": state})
    assert found.tensors.keys() == STATE.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in STATE.items())
    [note] = found.notes
    assert note.startswith(f"{tmp_path}/lm.pt: ")
    assert taken in note


@pytest.mark.parametrize(
    "place",
    [
        lambda state: {"model": state},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
        lambda state: {"module": state, "global_steps": 1},
        lambda state: {"model": {"state_dict": state}},
        lambda state: state,
    ],
    ids=["fairseq", "lightning", "plain", "deepspeed", "nested", "bare"],
)
def test_tensors_are_found_where_other_programs_put_them(tmp_path: Path, place: Callable[[Any], Any]) -> None:
    found = _read(tmp_path, place(dict(STATE)))
    assert found.tensors.keys() == STATE.keys()
    assert found.notes == ()


@pytest.mark.parametrize("name", ["ema", "model_ema", "ema_state_dict"])
@pytest.mark.parametrize("wrap", [lambda entry: entry, lambda entry: {"extra_state": entry}])
def test_averaged_weights_beside_the_trained_ones_are_left_out(
    tmp_path: Path, name: str, wrap: Callable[[Any], Any]
) -> None:
    averaged = {key: tensor + 1 for key, tensor in STATE.items()}
    found = _read(tmp_path, {"model": dict(STATE), **wrap({name: averaged})})
    assert torch.equal(found.tensors["decoder.layers.0.fc1.bias"], torch.ones(4))
    assert found.notes == (
        f"{tmp_path}/lm.pt: the averaged weights in '{name}' are left out, those in 'model' are used",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"model": {**_below("student."), **_below("teacher.")}},
            "several models, under student. and teacher.; save one",
        ),
        ({"model": {**_below("module."), **STATE}}, "stands there under two names; fetch the checkpoint again"),
        ({"model": {**_below("module."), **_below("_orig_mod.")}}, "two tensors have one name"),
        (
            {"optimizer": {"lr": 1}, "epoch": 3},
            "no checkpoint of fairseq, which has an entry 'model' of tensors ('optim",
        ),
        ({}, "(nothing is there)"),
        ([1], "(a list is there)"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(BackboneError) as caught:
        _read(tmp_path, content)
    assert said in str(caught.value)
