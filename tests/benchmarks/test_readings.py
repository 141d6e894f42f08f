from __future__ import annotations

import pytest

from benchmarks.readings import READS, arithmetic


@pytest.mark.parametrize("read", READS[1:])
def test_readings_of_the_whole_utterance_add_little_arithmetic(read: str) -> None:
    assert 1.0 <= arithmetic(read) / arithmetic("separator") <= 1.05  # type: ignore[arg-type]
