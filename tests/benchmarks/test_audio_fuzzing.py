"""What must hold of every recording, of a few hundred that are mutated."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzzing.audio import Pool


@cache
def _pool() -> Pool:
    return Pool()


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1))
def test_all_holds_of_mutated_recordings(seed: int) -> None:
    pool = _pool()
    case, policy = pool.draw(np.random.default_rng(seed))
    assert pool.check(case, policy) in ("heard", "unreadable", "empty", "too short", "too long")
