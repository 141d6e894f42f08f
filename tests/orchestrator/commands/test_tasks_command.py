"""``speechprompt tasks``, and jobs that name a packaged task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from orchestrator.commands.tasks import differences
from tests.fixtures import corpora
from tests.fixtures.command_line import speechprompt
from tests.fixtures.tuning import tiny_backbone
from tests.task_specs.files import SOUND, delimited
from workers.backbone.directory import write_backbone


def job(directory: Path, *tasks: str) -> None:
    write_backbone(tiny_backbone(), str(directory / "backbone"))
    (directory / "job.yaml").write_text(
        yaml.safe_dump({"backbone": "backbone", "tasks": list(tasks)}), encoding="utf-8"
    )


def test_all_tasks_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_ROOT", raising=False)
    rows = {row["task"]: row for row in json.loads(speechprompt("tasks", "--json").stdout)}
    assert set(rows) == set(corpora.BUILDERS)
    assert rows["fluent_speech_commands"]["classes"] == "6x14x4"
    assert rows["grabo"]["language"] == "nl"
    assert all(all(row.values()) for row in rows.values())
    shown = speechprompt("tasks")
    assert shown.code == 0
    assert all(name in shown.stdout for name in rows)


def test_a_complete_download_is_as_published(tmp_path: Path) -> None:
    corpora.arabic_speech_commands(tmp_path)
    done = speechprompt("tasks", "check", "arabic-speech-commands", "--root", str(tmp_path))
    assert done.code == 0
    assert "1107 of 1107" in done.stdout
    assert done.stdout.splitlines()[-1] == "counts are as published"


def test_a_download_that_lacks_recordings_differs(tmp_path: Path) -> None:
    corpora.esc50(tmp_path)
    done = speechprompt("tasks", "check", "esc50", "--root", str(tmp_path))
    assert done.code == 1
    assert "train: 150 instead of 1200" in done.stdout
    assert "50 of 400" in done.stdout
    as_json = json.loads(speechprompt("tasks", "check", "esc50", "--root", str(tmp_path), "--json").stdout)
    assert as_json["found"]["test"]["sound 3"] == 1
    assert as_json["expected"]["test"] == 400
    assert as_json["fits"] is False


def test_other_divisions_can_be_checked(tmp_path: Path) -> None:
    corpora.dysarthric_mandarin_speech_commands(tmp_path)
    command = ("tasks", "check", "dysarthric_mandarin_speech_commands", "--root", str(tmp_path))
    assert "219 of 219" in speechprompt(*command, "--split", "paper").stdout
    wrong = speechprompt(*command, "--split", "papers")
    assert wrong.code == 2
    assert "data.split: must be 'official', 'paper' or 'speakers', not 'papers'" in wrong.stderr


def test_what_is_wrong_with_a_download_comes_at_once(tmp_path: Path) -> None:
    tree = corpora.asvspoof2019_la(tmp_path)
    (tmp_path / tree.audio).write_bytes(b"?")
    (tmp_path / tree.lists[0]).unlink()
    done = speechprompt("tasks", "check", "asvspoof2019_la", "--root", str(tmp_path))
    assert done.code == 2
    assert len(done.problems) == 2
    assert "is not audio that can be decoded" in done.stderr
    assert "ASVspoof2019.LA.cm.eval.trl.txt: there is no such file; get it from https://" in done.stderr


def test_an_unknown_task_is_said(tmp_path: Path) -> None:
    done = speechprompt("tasks", "check", "esc-51", "--root", str(tmp_path))
    assert done.code == 2
    assert "there is no task 'esc-51' in this package; did you mean 'esc50'?" in done.stderr


def test_published_counts_by_class_are_compared() -> None:
    found = {"train": {"a": 2, "b": 1}, "valid": {}, "test": {"a": 1}}
    assert differences(found, {"train": {"a": 2, "b": 2}, "all": 4, "test": 2}) == [
        "train, b: 1 instead of 2", "test: 1 instead of 2",
    ]  # fmt: skip


def test_a_job_names_packaged_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpora.esc50(tmp_path / "sets/esc50")
    corpora.grabo(tmp_path / "sets/grabo")
    job(tmp_path, "task_specs/esc50.yaml", "task_specs/gr*.yaml")
    monkeypatch.delenv("DATA_ROOT", raising=False)
    unset = speechprompt("plan", "job.yaml", "--no-probe")
    assert unset.code == 2
    assert len(unset.problems) == 2
    assert all("data.root: the environment variable DATA_ROOT is not set" in problem for problem in unset.problems)
    # A relative root starts from the working directory, not from where this package is installed.
    monkeypatch.setenv("DATA_ROOT", "sets")
    first = next((tmp_path / "sets/esc50/audio").glob("1-*"))
    (tmp_path / "sets/esc50/audio/3-10000-A-0.wav").write_bytes(first.read_bytes())
    done = speechprompt("plan", "job.yaml", "--no-probe")
    assert done.code == 0, done.stderr
    assert "150/50/50" in done.stdout
    assert "252/252/252" in done.stdout
    assert "note  esc50: 1 of 250 clips are copies of others, byte for byte" in done.stdout


def test_a_file_beside_the_job_comes_before_a_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job(tmp_path, "task_specs/esc50.yaml", "task_specs/esc51.yaml")
    (tmp_path / "task_specs").mkdir()
    (tmp_path / "task_specs/own.csv").write_text(delimited(SOUND), encoding="utf-8")
    (tmp_path / "task_specs/esc50.yaml").write_text("name: own\ndata: {path: own.csv}\n", encoding="utf-8")
    done = speechprompt("plan", "job.yaml", "--no-probe")
    [problem] = done.problems
    assert "tasks[1]: there is no file" in problem


def test_faults_of_several_data_sets_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("esc50", "mustard", "voxceleb1_speaker"):
        corpora.BUILDERS[name](tmp_path / name)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    job(tmp_path, *(f"task_specs/{name}.yaml" for name in ("esc50", "mustard", "voxceleb1_speaker")))
    (tmp_path / "esc50/audio/4-10000-A-0.wav").unlink()
    (tmp_path / "mustard/utterances_final/3_0.wav").write_bytes(b"")
    with (tmp_path / "voxceleb1_speaker/iden_split.txt").open("a") as file:
        file.write("9 id10001/na8-QEFmj04/00003.wav\n1 id10001/na8-QEFmj04/00003.wav\n")
    said = "\n".join(speechprompt("plan", "job.yaml", "--no-probe").problems)
    assert "esc50/meta/esc50.csv:152: there is no file 'audio/4-10000-A-0.wav'" in said
    assert "mustard/utterances_final/3_0.wav: is not audio" in said
    assert "iden_split.txt:25: '9' is not a split" in said
    assert "iden_split.txt:26: this clip is already listed in voxceleb1_speaker/iden_split.txt:1" in said
