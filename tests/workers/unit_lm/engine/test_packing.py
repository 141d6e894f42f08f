from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.unit_lm.engine.packing import Packing, kernel_size, starts_of


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(0, 5))
def test_offsets_count_from_zero_in_every_row(lengths: list[int], spare: int) -> None:
    packing = Packing.of(np.array(lengths), spare=spare)
    wanted = [offset for length in lengths for offset in range(length)]
    assert packing.offsets.tolist() == wanted + [0] * spare
    assert packing.longest == max(lengths)
    assert starts_of(packing.lengths).tolist() == [sum(lengths[:row]) for row in range(len(lengths))]


@given(st.integers(1, 100_000))
def test_sizes_are_few_and_hardly_larger(tokens: int) -> None:
    size = kernel_size(tokens)
    assert tokens <= size < tokens + max(16, tokens / 16 + 1)
    assert kernel_size(size) == size


def test_sizes_of_an_octave() -> None:
    assert len({kernel_size(tokens) for tokens in range(513, 1025)}) == 16
