from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.backbone.packing import Packing

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8)


@given(LENGTHS)
def test_spread_and_collect_are_inverse(lengths: list[int]) -> None:
    packing = Packing.of(np.array(lengths))
    packed = torch.randn(sum(lengths), 3)
    grid = packing.spread(packed)
    assert grid.shape == (len(lengths), max(lengths), 3)
    for row, part in enumerate(packed.split(lengths)):  # type: ignore[no-untyped-call]
        assert torch.equal(grid[row, : len(part)], part)
        assert not grid[row, len(part) :].any()
    assert torch.equal(packing.collect(grid), packed)


@given(LENGTHS)
def test_offsets_count_from_zero_in_every_row(lengths: list[int]) -> None:
    packing = Packing.of(np.array(lengths))
    assert packing.offsets.tolist() == [offset for length in lengths for offset in range(length)]
    assert packing.dense == (len(set(lengths)) == 1)


def test_rows_of_one_length_are_not_copied() -> None:
    packing = Packing.of(np.array([4, 4]))
    packed = torch.randn(8, 3)
    assert packing.spread(packed).data_ptr() == packed.data_ptr()
    assert packing.collect(packing.spread(packed)).data_ptr() == packed.data_ptr()
