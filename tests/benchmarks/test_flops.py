from __future__ import annotations

import numpy as np

from benchmarks.flops import full_tuning, prompt_tuning
from benchmarks.workload import FULL, broad_lengths


def test_a_step_needs_a_third_of_full_fine_tuning() -> None:
    """At 12 x 1024, batches of 8; what is saved at equal padding, and with packing."""
    drawn = [broad_lengths(8, seed) for seed in range(4)]
    full = sum(full_tuning(FULL, lengths) for lengths in drawn)
    assert sum(prompt_tuning(FULL, lengths) for lengths in drawn) / full <= 0.33
    equal = np.full(8, 80)
    assert prompt_tuning(FULL, equal) / full_tuning(FULL, equal) <= 0.60
