"""Publishing and reading shared cases: what a plan passes can be published, and one bad recording silences no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.command_line import speechprompt


@pytest.mark.case("46-label-of-a-sentence")
def test_a_label_that_no_bundle_holds_is_refused_by_the_plan(shared_case: Path) -> None:
    done = speechprompt("plan", str(shared_case / "job.yaml"), "--no-probe")
    assert done.code == 2
    [problem] = done.problems
    assert "data.csv:2: label: 'The caller asks to be connected" in problem
    assert problem.endswith(" has 224 characters, and a bundle holds at most 200; shorten it")
