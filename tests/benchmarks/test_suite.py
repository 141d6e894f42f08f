from __future__ import annotations

import pickle

from benchmarks.result import Result, markdown, speed_ratio
from benchmarks.suite import names, run


def test_the_suite_holds_the_benchmarks_and_not_their_parts() -> None:
    assert names()[:5] == ["flops", "tuning", "gangs", "one_shot", "shared_memory"]
    assert not {"result", "suite", "workload", "reference_form"} & set(names())
    assert pickle.loads(pickle.dumps(run)) is run  # noqa: S301


def test_a_row_says_whether_its_target_is_reached() -> None:
    rows = [Result("a / b", 2.0, 1.9), Result("c", 0.34, 0.33, "at most"), Result("told", 5.0)]
    assert [row.reached for row in rows] == ["yes", "no", ""]
    assert "| c | 0.34 | at most 0.33 | no |  |" in markdown("t", rows)


def test_ratios_are_taken_turn_by_turn() -> None:
    turns = {"fast": [(10.0, 1.0), (10.0, 4.0), (10.0, 1.0)], "slow": [(5.0, 1.0), (5.0, 4.0), (1.0, 1.0)]}
    assert speed_ratio(turns, "fast", "slow") == 2
