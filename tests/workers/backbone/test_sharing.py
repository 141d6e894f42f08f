from __future__ import annotations

import numpy as np
import pytest
import torch

from infra.errors import FrozenWeightsChanged
from tests.fixtures.tuning import make_lane, tiny_backbone, tiny_lm
from workers.backbone.sharing import SharedLM
from workers.tuning.step.gang import Gang
from workers.unit_lm.engine.rows import Rows


def _shared() -> SharedLM:
    """Over memory that numpy must not write, as the object store hands it out."""
    shared = SharedLM.of(tiny_backbone())
    for array in shared.tensors.values():
        array.flags.writeable = False
    return shared


def test_attaching_copies_nothing() -> None:
    shared = _shared()
    lm = shared.attach()
    named = lm.state_dict()
    assert named.keys() == shared.tensors.keys()
    for name, array in shared.tensors.items():
        assert named[name].data_ptr() == array.ctypes.data, name
    assert not any(parameter.requires_grad for parameter in lm.parameters())
    assert not lm.training
    rows = Rows.of_units([np.arange(6)], None, start=6, device="cpu")
    outputs = [each(each.embed_rows(rows), rows.packing) for each in (lm, tiny_lm())]
    assert torch.equal(*outputs)


def test_a_write_through_torch_is_detected() -> None:
    shared = _shared()
    lm = shared.attach()
    shared.verify()
    with pytest.raises(ValueError, match="read-only"):
        shared.tensors["norm.bias"][0] = 1
    lm.get_parameter("norm.bias")[0] += 1e-6
    with pytest.raises(FrozenWeightsChanged, match="nothing tuned with them is published"):
        shared.verify()


def test_tuning_leaves_the_weights_as_they_are() -> None:
    shared = _shared()
    before = {name: array.copy() for name, array in shared.tensors.items()}
    lm = shared.attach()
    gang = Gang(lm, [make_lane(lm), make_lane(lm, seed=1, dropout=0.2)], precision="fp32")
    start = gang.adam.values.clone()
    while gang.run_to_evaluation():
        pass
    assert not torch.equal(gang.adam.values, start)
    for name, array in before.items():
        assert array.tobytes() == shared.tensors[name].tobytes()
    shared.verify()
