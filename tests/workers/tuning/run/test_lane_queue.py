from __future__ import annotations

import math
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from workers.tuning.run.queue import Ended, Queue, SavedQueue

NUMBERS = st.floats(allow_nan=False)


@given(st.tuples(NUMBERS, NUMBERS), st.floats(min_value=0, allow_infinity=False))
def test_what_is_saved_is_read_to_the_bit(score: tuple[float, float], seconds: float) -> None:
    queue = Queue(waiting=[2], parked=[0], ended={3: Ended(steps=5, score=score)}, seconds={3: seconds})
    saved = SavedQueue(lanes=["a", "b", "c", "d"], running=[1], max_lanes_per_pass=2, queue=queue)
    with tempfile.TemporaryDirectory() as directory:
        saved.write(Path(directory))
        assert SavedQueue.read(Path(directory)) == saved


def test_the_score_of_a_lane_that_was_never_measured(tmp_path: Path) -> None:
    ended = {0: Ended(steps=5, score=(-math.inf, math.nan))}
    SavedQueue(lanes=["a"], running=[], queue=Queue(waiting=[], ended=ended)).write(tmp_path)
    score = SavedQueue.read(tmp_path).queue.ended[0].score
    assert score is not None
    assert score[0] == -math.inf
    assert math.isnan(score[1])
