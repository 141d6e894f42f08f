"""Slips of the hand: one file for another, names almost right, settings of another file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.fixtures.bundles import random_bundle
from tests.fixtures.command_line import speechprompt
from tests.fixtures.tones import babble, write_audio
from tests.fixtures.tuning import tiny_backbone
from workers.backbone.directory import write_backbone
from workers.bundle.publish import publish


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a backbone, a task, a job, a backbone file, and bundles of two tasks."""
    monkeypatch.chdir(tmp_path)
    write_backbone(tiny_backbone(), "backbone")
    (tmp_path / "tasks").mkdir()
    rows = [f"1 {2 + row % 4},{'ab'[row % 2]},{split}" for row in range(8) for split in ("train", "valid", "test")]
    (tmp_path / "table.csv").write_text("\n".join(["units,label,split", *rows]))
    for name, content in {
        "tasks/words.yaml": {"name": "words", "data": {"path": "../table.csv"}},
        "job.yaml": {"backbone": "backbone", "tasks": "tasks/*.yaml"},
        "backbone.yaml": {"out": "made", "tasks": "tasks/*.yaml"},
    }.items():
        (tmp_path / name).write_text(yaml.safe_dump(content))
    for task in ("here", "there"):
        publish(str(tmp_path / "bundles"), random_bundle(task=task))
    return tmp_path


def said(*arguments: str) -> str:
    """The first line of a command that is refused as bad input."""
    done = speechprompt(*arguments)
    assert (done.code, done.stdout) == (2, ""), done
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[0].removeprefix("error: ")


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("plan tasks/words.yaml", "tasks/words.yaml: is a task file, not a job file; a job lists it under tasks"),
        ("run backbone.yaml", "backbone.yaml: is a backbone file, not a job file; it is for 'speechprompt"),
        ("backbone pretrain job.yaml", "job.yaml: is a job file, not a backbone file; it is run with 'spe"),
        ("plan job.yaml --set tasks=job.yaml", "job.yaml: is a job file, not a task file; it is run with"),
        ("plan job.yaml --set seeds=5", "command line: seeds: is not a key of this file; it belongs to a task; set it"),
        ("plan job.yaml --set colour=red", "command line: colour: is not a known key; use one of name, backbone"),
        ("plan jobs.yaml", "jobs.yaml: there is no such file; did you mean 'job.yaml'?"),
        ("plan nothing-like-it.yaml", "nothing-like-it.yaml: there is no such file; correct the path"),
        ("plan job.yaml --set tasks=task/words.yaml", "job.yaml: tasks[0]: there is no file "),
        ("plan job.yaml --set backbone=backbon", "job.yaml: backbone: "),
        ("bundle list bundels", "there is no such directory; did you mean 'bundles'?"),
        ("bundle inspect bundles", "name the directory of a task in it: here, there"),
        ("bundle inspect bundles/their", "did you mean 'there'?"),
        ("classify --bundle bundles a.wav", "name the directory of a task in it: here, there"),
    ],
)  # fmt: skip
def test_a_slip_is_named(arguments: str, sentence: str) -> None:
    assert sentence in said(*arguments.split())


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("arguments", "near"),
    [("plan job.yaml --set tasks=task/words.yaml", "'tasks'"), ("plan job.yaml --set backbone=bakcbone", "'backbone'")],
)
def test_a_path_in_a_file_is_almost_right(arguments: str, near: str) -> None:
    assert f"did you mean {near}?" in said(*arguments.split())


@pytest.mark.usefixtures("workplace")
def test_demo_takes_no_file_for_its_directory() -> None:
    done = speechprompt("demo", "job.yaml")
    assert done.code == 2
    assert done.stderr.endswith("Directory 'job.yaml' is a file.\n")


def test_a_column_of_many_values_is_one_problem(workplace: Path) -> None:
    rows = [f"1 2,utterance {row},{('train', 'valid', 'test')[row % 3]}" for row in range(90)]
    (workplace / "table.csv").write_text("\n".join(["units,label,split", *rows]))
    done = speechprompt("plan", "job.yaml")
    assert done.problems == [
        "table.csv: label: has 90 different labels in 90 rows; name the column that holds the class in data.label"
    ]


def test_settings_that_nobody_means_are_noted(workplace: Path) -> None:
    task = {
        "name": "words",
        "language": "Lithuanian language",
        "data": {"path": "../table.csv"},
        "recipe": {"learning_rate": 20, "steps": 100, "evaluate_every": 500},
    }
    (workplace / "tasks/words.yaml").write_text(yaml.safe_dump(task))
    done = speechprompt("plan", "job.yaml", "--no-probe")
    assert done.code == 0, done.stderr
    lines = [line.partition("note  ")[2].partition(";")[0] for line in done.stdout.splitlines()]
    assert [line for line in lines if "recipe." in line or "language:" in line] == [
        "words: language: 'Lithuanian language' is no language tag (BCP 47)",
        "words: recipe.learning_rate: 20 is very high",
        "words: recipe.evaluate_every: 500 is above steps, 100",
    ]
    told = json.loads(speechprompt("plan", "job.yaml", "--no-probe", "--json").stdout)
    assert told["notes"][-1].startswith("words: recipe.evaluate_every")
    [task] = told["tasks"]
    assert (task["task"], task["examples"], task["lanes"]) == ("words", {"train": 8, "valid": 8, "test": 8}, 1)


def test_tasks_are_taken_from_a_directory_of_bundles(workplace: Path) -> None:
    from tests.fixtures.random_classifier import publish_both

    publish_both(workplace / "served")
    write_audio(workplace / "good.wav", babble(1, 0.6))
    served = ("classify", "--bundle", "served/bundles", "--backbone", "served/backbone", "--json", "good.wav")
    done = speechprompt(*served, "--task", "strict", "--task", "toy-task")
    assert done.code == 0, done.stderr
    assert '"strict"' in done.stdout
    assert '"toy-task"' in done.stdout
    assert "name the directory of a task in it: strict, toy-task" in said(*served)
