from __future__ import annotations

import torch

from workers.precision import autocast, has_bf16_units, resolve

CPU = torch.device("cpu")


def test_each_precision_is_what_it_says() -> None:
    x = torch.ones(2, 2)
    with autocast("bf16", CPU):
        assert (x @ x).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert (x @ x).dtype == torch.float32
    with autocast("auto", CPU):
        assert (x @ x).dtype == (torch.bfloat16 if has_bf16_units(CPU) else torch.float32)


def test_auto_is_resolved_and_what_was_asked_for_is_kept() -> None:
    assert resolve("auto", CPU) == ("bf16" if has_bf16_units(CPU) else "fp32")
    assert (resolve("fp32", CPU), resolve("bf16", CPU)) == ("fp32", "bf16")
