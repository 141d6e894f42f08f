"""Several ranks tune as one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.fixtures.processes import run_processes
from tests.fixtures.tuned_together import tune_together, tuned
from workers.tuning.step.process_group import Ranks


@given(st.integers(0, 50), st.integers(1, 9))
def test_every_row_is_one_ranks(rows: int, world: int) -> None:
    shares = [Ranks(rank, world).own(rows) for rank in range(world)]
    assert sorted(np.concatenate(shares)) == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_equal_one_worker(world: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    run_processes(world, tune_together, world, str(tmp_path))
    first, *others = (load_file(tmp_path / str(rank)) for rank in range(world))
    for other in others:
        for name, tensor in first.items():
            assert torch.equal(other[name], tensor), name
    for name, tensor in tuned(Ranks()).items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-5, atol=1e-5, msg=name)
