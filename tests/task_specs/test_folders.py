"""Recordings in a folder for each label."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from task_specs.dataset import read_dataset
from task_specs.schema import load_task_spec
from tests.fixtures.corpora import record
from tests.task_specs.files import problems_of, spec, texts


def test_a_task_takes_one_short_file(tmp_path: Path) -> None:
    """The file that README shows."""
    for label in ("doors", "windows"):
        for speaker in ("ana", "bo", "cy", "di"):
            for take in range(3):
                record(tmp_path / f"recordings/{label}/{speaker}_{take}.wav")
    text = (
        "name: doors-and-windows\n"
        "language: en\n"
        "data:\n"
        "  reader: folders\n"
        "  root: recordings\n"
        "  speaker: '([a-z]+)_'\n"
        "metric: macro_f1\n"
    )
    (tmp_path / "task.yaml").write_text(text, encoding="utf-8")
    loaded, problems = load_task_spec(str(tmp_path / "task.yaml"))
    assert loaded is not None, problems
    dataset = read_dataset(loaded)
    assert dataset.labels == (("doors", "windows"),)
    assert dataset.counts == {"train": 12, "valid": 6, "test": 6}
    speakers = {split: {e.speaker for e in dataset.split(split)} for split in dataset.counts}
    assert sum(map(len, speakers.values())) == 4


def test_without_speakers_each_label_is_divided(tmp_path: Path) -> None:
    for label, count in {"doors": 40, "windows": 3}.items():
        for take in range(count):
            record(tmp_path / f"{label}/deep/{take}.flac")
    dataset = read_dataset(spec(tmp_path, data={"reader": "folders", "root": "."}))
    found = Counter((example.labels[0], example.split) for example in dataset.examples)
    assert found == {
        ("doors", "train"): 32, ("doors", "valid"): 4, ("doors", "test"): 4,
        ("windows", "train"): 1, ("windows", "valid"): 1, ("windows", "test"): 1,
    }  # fmt: skip


def test_folders_of_splits_are_the_splits(tmp_path: Path) -> None:
    for split, count in {"train": 3, "valid": 1, "test": 2}.items():
        for label in ("doors", "windows"):
            for take in range(count):
                record(tmp_path / f"{split}/{label}/{take}.ogg")
    dataset = read_dataset(spec(tmp_path, data={"reader": "folders", "root": "."}))
    assert dataset.counts == {"train": 6, "valid": 2, "test": 4}


def test_many_recordings_are_divided_quickly(tmp_path: Path) -> None:
    for label in ("doors", "windows"):
        (tmp_path / label).mkdir()
        for take in range(3000):
            (tmp_path / label / f"{take}.wav").touch()
    dataset = read_dataset(
        spec(tmp_path, data={"reader": "folders", "root": ".", "check": "names", "duplicates": None})
    )
    assert dataset.counts == {"train": 4800, "valid": 600, "test": 600}


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    record(tmp_path / "doors/ana.wav")
    record(tmp_path / "windows/7.wav")
    unsaid = spec(tmp_path, data={"reader": "folders", "root": ".", "speaker": "[a-z]+[.]"})
    assert texts(unsaid, tmp_path) == ["windows/7.wav: '[a-z]+[.]' finds no speaker; correct 'speaker'"]
    [problem] = problems_of(spec(tmp_path, data={"reader": "folders", "root": "nowhere"}))
    assert problem.message == "there is no such directory"
    (tmp_path / "task.yaml").write_text("name: t\ndata: {reader: folders, root: ., speaker: '('}", encoding="utf-8")
    _, [problem] = load_task_spec(str(tmp_path / "task.yaml"))
    assert problem.field == "data.speaker"
    assert problem.message.startswith("is not a regular expression")
