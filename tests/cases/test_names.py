"""Names of directories and files, and rows that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.command_line import Finished, speechprompt


def plan(case: Path) -> Finished:
    return speechprompt("plan", str(case / "job.yaml"))


def made_strict(case: Path) -> None:
    with (case / "task.yaml").open("a", encoding="utf-8") as file:
        file.write("strict: true\n")


@pytest.mark.case("15-folders-val-not-valid")
def test_val_is_the_split_valid(shared_case: Path) -> None:
    planned = plan(shared_case)
    assert planned.code == 0, planned.stderr
    [row] = [line for line in planned.stdout.splitlines() if line.startswith("│ task")]
    assert "│ 2 " in row
    assert "8/4/4" in row


@pytest.mark.case("17-folders-class-of-m4a")
def test_a_label_without_a_recording_is_a_problem(shared_case: Path) -> None:
    planned = plan(shared_case)
    assert planned.code == 2
    [problem] = planned.problems
    assert problem.endswith(
        "rec: 'maybe' holds no WAV, FLAC, OGG or MP3, but 8 .m4a; convert them to WAV or FLAC, or move the directory "
        "away"
    )


@pytest.mark.case("18-file-names-latin1")
def test_a_file_name_that_is_not_utf8_is_a_problem(shared_case: Path) -> None:
    planned = plan(shared_case)
    assert planned.code == 2
    [problem] = planned.problems
    assert problem.endswith(r"rec: ja/gr\xfc\xdfe.wav: its name is not UTF-8; rename it")


@pytest.mark.case("25-one-clip-two-labels")
def test_a_clip_with_two_labels_is_noted(shared_case: Path) -> None:
    planned = plan(shared_case)
    assert planned.code == 0, planned.stderr
    said = "1 clip has more than one label ("
    assert said in planned.stdout
    assert "data.csv:2, 18)" in planned.stdout
    made_strict(shared_case)
    planned = plan(shared_case)
    assert planned.code == 2
    assert said in planned.stderr


@pytest.mark.case("27-speaker-in-train-and-test")
def test_speakers_of_several_splits_are_noted(shared_case: Path) -> None:
    planned = plan(shared_case)
    assert planned.code == 0, planned.stderr
    said = "1 of 1 speakers of valid and 1 of 1 speakers of test are also in train ("
    assert said in planned.stdout
    made_strict(shared_case)
    planned = plan(shared_case)
    assert planned.code == 2
    assert said in planned.stderr
