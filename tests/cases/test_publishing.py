"""Publishing and reading shared cases: what a plan passes can be published, and one bad recording silences no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.command_line import speechprompt
from tests.fixtures.random_classifier import publish_both
from tests.orchestrator.test_publishable import published_and_read


@pytest.mark.case("46-label-of-a-sentence")
def test_a_label_that_no_bundle_holds_is_refused_by_the_plan(shared_case: Path) -> None:
    done = speechprompt("plan", str(shared_case / "job.yaml"), "--no-probe")
    assert done.code == 2
    [problem] = done.problems
    assert "data.csv:2: label: 'The caller asks to be connected" in problem
    assert problem.endswith(" has 224 characters, but a bundle holds at most 200; shorten it")


@pytest.mark.case("48-slots-named-by-questions")
def test_slots_named_by_questions_pass_the_plan(shared_case: Path) -> None:
    done = speechprompt("plan", str(shared_case / "job.yaml"), "--no-probe")
    assert (done.code, done.stderr) == (0, "")
    # What a plan passes is published: tests/orchestrator/test_publishable.py.
    slots = {f"How would you describe the overall mood of the {who} here?": ["1", "2"] for who in ("speaker", "caller")}
    published_and_read(slots, seed=0)


@pytest.mark.case("13-one-bad-among-many")
def test_one_bad_recording_among_many_silences_none(shared_case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_both(shared_case)
    monkeypatch.chdir(shared_case)
    files = ("good-1.wav", "bad.wav", "good-2.wav")
    done = speechprompt("classify", "--bundle", "bundles/toy-task", "--backbone", "backbone", "--json", *files)
    assert done.code == 1
    first, bad, last = map(json.loads, done.stdout.splitlines())
    assert [first["audio"], last["audio"]] == ["good-1.wav", "good-2.wav"]
    assert list(first["labels"]) == list(last["labels"]) == ["toy-task"]
    assert bad == {"audio": "bad.wav", "error": done.stderr.rstrip("\n")}
    assert done.stderr.startswith("bad.wav: ")
