from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.evaluation.confusion import confusion_cells, confusion_table
from workers.evaluation.metrics import Predictions

CLASSES = 4


def predictions(pairs: list[tuple[int, int]]) -> Predictions:
    labels, predicted = np.array(pairs, dtype=np.int64).T
    return Predictions([np.eye(CLASSES, dtype=np.float32)[predicted]], labels[:, None])


@given(st.lists(st.tuples(*[st.integers(0, CLASSES - 1)] * 2), min_size=1, max_size=30))
def test_cells_are_the_table_without_zeros(pairs: list[tuple[int, int]]) -> None:
    found = predictions(pairs)
    cells = confusion_cells(found, 0)
    np.testing.assert_array_equal(confusion_table([cells], CLASSES), found.confusion(0))
    assert all(count > 0 for _, _, count in cells)
    assert cells == sorted(cells)


def test_tables_of_several_seeds_add_up() -> None:
    parts = [confusion_cells(predictions([(0, 1), (2, 2)]), 0), confusion_cells(predictions([(0, 1)]), 0)]
    table = confusion_table(parts, CLASSES)
    assert (table[0, 1], table[2, 2], table.sum()) == (2, 1, 3)
