from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.speech.sequences import UnitSequences

ROWS = st.lists(st.lists(st.integers(0, 2**15 - 1), max_size=6), max_size=6)


@given(ROWS, st.data())
def test_holds_what_it_was_made_of(rows: list[list[int]], data: st.DataObject) -> None:
    sequences = UnitSequences.of(rows)
    assert [sequences[index].tolist() for index in range(len(sequences))] == rows
    assert sequences.lengths.tolist() == [len(row) for row in rows]
    assert sequences.flat.dtype == np.int16
    if rows:
        chosen = data.draw(st.lists(st.integers(0, len(rows) - 1)))
        taken = sequences.take(np.array(chosen, dtype=np.int64))
        assert [taken[index].tolist() for index in range(len(taken))] == [rows[index] for index in chosen]


@pytest.mark.parametrize("row", [[40_000], np.array([40_000])])
def test_a_unit_that_does_not_fit_is_refused(row: list[int]) -> None:
    with pytest.raises(OverflowError):
        UnitSequences.of([row])
