from __future__ import annotations

import gc
import weakref

from tests.fixtures.gang_bench import SHARED, Bench
from workers.tuning.run.lane_source import LaneSource


def test_examples_are_shared_by_the_lanes_of_a_task_and_go_with_the_last(bench: Bench) -> None:
    source = LaneSource(SHARED.attach(), SHARED)
    one, two = (source.lane(bench.lane(f"{seed}", seed=seed).spec) for seed in range(2))
    assert one.examples is two.examples
    examples = weakref.ref(one.examples)
    del one
    gc.collect()
    assert examples() is not None
    del two
    gc.collect()
    assert examples() is None
