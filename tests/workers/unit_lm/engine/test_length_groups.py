from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.unit_lm.engine.attention_plan import length_groups


def _cells(groups: list[list[int]], prefix: int, cost: int) -> int:
    """Cells as the rule counts them; the lengths are multiples of 4."""
    return sum(len(group) * max(group) * (max(group) + prefix) + cost for group in groups)


@given(st.lists(st.integers(1, 8).map(lambda n: 4 * n), min_size=1, max_size=7), st.integers(0, 9), st.integers(0, 900))
def test_the_parting_is_the_best_of_all(lengths: list[int], prefix: int, cost: int) -> None:
    groups = length_groups(np.array(lengths), prefix=prefix, cost=cost)
    found = _cells([[lengths[row] for row in rows] for rows in groups], prefix, cost)
    ordered = sorted(lengths)
    inner = range(1, len(ordered))
    partings = [
        [ordered[a:b] for a, b in zip((0, *cuts), (*cuts, len(ordered)), strict=True)]
        for count in range(len(ordered))
        for cuts in combinations(inner, count)
    ]
    assert found == min(_cells(parting, prefix, cost) for parting in partings)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(0, 5000))
def test_every_row_is_in_one_group(lengths: list[int], cost: int) -> None:
    groups = length_groups(np.array(lengths), cost=cost)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
