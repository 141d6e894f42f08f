from __future__ import annotations

import pytest

from benchmarks.flops import measure


def test_a_step_needs_a_third_of_full_fine_tuning() -> None:
    """At 12 x 1024, batches of 8 in random order; packing saves the padding, which is less where lengths are alike."""
    found = {result.what: result for result in measure()}
    assert not [result for result in found.values() if result.reached == "no"]
    assert [result.target for result in found.values() if result.target is not None] == [0.33, 0.60]
    assert found["the same, packed / padded, lengths of FSC"].value == pytest.approx(0.42, abs=0.01)
