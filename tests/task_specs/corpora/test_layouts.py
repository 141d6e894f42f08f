"""Data sets as they lie on disks: unpacked into other directories, listed in another place, named in another case."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from task_specs.readers.corpora.voxforge import AUDIO
from tests.fixtures import corpora
from tests.fixtures.corpora import BUILDERS, record
from tests.task_specs.corpora.data_sets import read, wrong

Move = tuple[str, str]


def move(root: Path, *moves: Move) -> None:
    """Moves paths below the root; ``""`` is all that is in it."""
    for source, target in moves:
        if not source:
            away = root.with_name("away")
            root.rename(away)
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            away.rename(root / target)
        else:
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (root / source).rename(root / target)


DEEPER: list[tuple[str, tuple[Move, ...], str]] = [
    ("mustard", (("", "MUStARD-main"),), "read from MUStARD-main/"),
    ("esc50", (("", "ESC-50-master/ESC-50-master"),), "read from ESC-50-master/ESC-50-master/"),
    ("asvspoof2019_la", (("", "LA/LA"),), "read from LA/LA/"),
    ("fluent_speech_commands", (("", "fluent/fluent_speech_commands_dataset"),),
     "read from fluent/fluent_speech_commands_dataset/"),
    ("iemocap", (("", "IEMOCAP_full_release_withoutVideos"),), "read from IEMOCAP_full_release_withoutVideos/"),
    ("lithuanian_speech_commands", (("", "lt_speech_commands-master"),), "read from lt_speech_commands-master/"),
    ("accentdb", (("", "accentDB_extended"),), "read from accentDB_extended/"),
    ("google_speech_commands_v1", (("", "SpeechCommands"),), "read from SpeechCommands/"),
    ("google_speech_commands_v1",
     (("speech_commands_v0.01", "away"), ("away", "speech_commands_v0.01/speech_commands_v0.01")),
     "read from speech_commands_v0.01/"),
    ("mustard",
     (("sarcasm_data.json", "MUStARD-master/data/sarcasm_data.json"),
      ("utterances_final", "raw_videos/mmsd_raw_data/utterances_final")),
     "read from raw_videos/mmsd_raw_data/"),
    ("mustard_plus_plus",
     (("final_utterance_videos", "all_videos/final_utterance_videos"),
      ("mustard++_text.csv", "MUStARD_Plus_Plus-main/mustard++_text.csv")),
     "read from all_videos/"),
    ("voxceleb1_gender",
     (("dev/wav", "vox1_dev_wav/wav"), ("test/wav", "vox1_test_wav/wav"), ("iden_split.txt", "meta/iden_split.txt"),
      ("vox1_meta.csv", "meta/vox1_meta.csv")),
     "read from meta/"),
    ("voxceleb1_speaker", (("dev/wav", "away"), ("away", "voxceleb1/dev")), ""),
    ("voxforge", (("", "voxforge/www.repository.voxforge1.org"),), "read from voxforge/www.repository.voxforge1.org/"),
    ("voice_activity", (("manifest", "away"), ("away", "manifest/0.63s")), "read from manifest/0.63s/"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "moves", "note"), DEEPER)
def test_directories_around_a_data_set_are_looked_into(
    tmp_path: Path, name: str, moves: tuple[Move, ...], note: str
) -> None:
    root = tmp_path / "data"
    tree = BUILDERS[name](root)
    move(root, *moves)
    # As zips made by macOS unpack.
    shutil.copytree(root, tmp_path / "twin")
    (tmp_path / "twin").rename(root / "__MACOSX")
    dataset = read(name, root)
    assert sum(dataset.counts.values()) == tree.total
    assert not note or note in dataset.notes


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("esc50", "audio"),
        ("asvspoof2019_la", "ASVspoof2019_LA_train"),
        ("fluent_speech_commands", "wavs/speakers"),
        ("google_speech_commands_v1", "speech_commands_v0.01"),
        ("iemocap", "Session3"),
        ("mustard", "utterances_final"),
        ("mustard_plus_plus", "final_utterance_videos"),
        ("voxceleb1_gender", "dev/wav"),
        ("voxforge", "downloads"),
    ],
)
def test_a_root_that_is_a_part_of_a_data_set_is_left_for_the_whole(tmp_path: Path, name: str, part: str) -> None:
    tree = BUILDERS[name](tmp_path / "data")
    dataset = read(name, tmp_path / "data" / part)
    assert sum(dataset.counts.values()) == tree.total
    left = [note for note in dataset.notes if f"since the root is its {part}/" in note]
    assert len(left) == (name != "voxforge")


def test_a_root_of_another_name_is_never_left(tmp_path: Path) -> None:
    corpora.esc50(tmp_path)
    (tmp_path / "subset").mkdir()
    [problem] = wrong("esc50", tmp_path / "subset")
    assert problem.startswith("meta/esc50.csv: there is no such file; get it from ")


@pytest.mark.parametrize(
    ("name", "twins"),
    [
        ("mustard_plus_plus", ("MUStARD_Plus_Plus-main", "all_videos")),
        ("iemocap", ("IEMOCAP_full_release", "IEMOCAP_full_release_withoutVideos")),
        ("asvspoof2019_la", ("LA", "LA (1)")),
        ("fluent_speech_commands", ("copy", "fluent_speech_commands_dataset")),
        ("voxceleb1_speaker", ("VoxCeleb1", "VoxCeleb1_old")),
    ],
)
def test_a_data_set_that_is_there_twice_is_not_chosen_from(tmp_path: Path, name: str, twins: tuple[str, str]) -> None:
    for twin in twins:
        BUILDERS[name](tmp_path / "data" / twin)
    problems = wrong(name, tmp_path / "data")
    assert (
        f"{tmp_path / 'data'}: holds this data set more than once, in {twins[0]}/ and {twins[1]}/; "
        "name one of them as 'root'"
    ) in problems


def test_recordings_of_both_speech_commands_archives_in_one_directory_are_refused(tmp_path: Path) -> None:
    tree = corpora.google_speech_commands_v1(tmp_path / "data")
    for part in ("speech_commands_test_set_v0.01", "speech_commands_v0.01"):
        shutil.copytree(tree.root / part, tmp_path / "mixed", dirs_exist_ok=True)
    [problem] = wrong("google_speech_commands_v1", tmp_path / "mixed")
    assert problem.endswith(
        "or both archives mixed; unpack each into a directory of its own, speech_commands_v0.01 and "
        "speech_commands_test_set_v0.01"
    )


Change = Callable[[Path], object]


def rename(root: Path, pattern: str, change: Callable[[str], str]) -> None:
    for path in sorted(root.rglob(pattern), reverse=True):
        path.rename(path.with_name(change(path.name)))


@pytest.mark.parametrize(
    ("name", "pattern", "change"),
    [
        ("fluent_speech_commands", "*.wav", lambda name: name.replace(".wav", ".WAV")),
        ("voxceleb1_gender", "wav", str.upper),
        ("iemocap", "EmoEvaluation", str.lower),
        ("iemocap", "Ses01*.wav", str.upper),
        ("asvspoof2019_la", "*.flac", str.lower),
        ("mustard", "utterances_final", str.title),
        ("mustard", "*_*.wav", lambda name: name.replace(".wav", ".Wav")),
        ("voxforge", "Trunk", str.lower),
    ],
)
def test_names_may_differ_in_case(tmp_path: Path, name: str, pattern: str, change: Callable[[str], str]) -> None:
    tree = BUILDERS[name](tmp_path / "data")
    rename(tree.root, pattern, change)
    assert sum(read(name, tree.root).counts.values()) == tree.total


def test_two_names_that_differ_in_case_alone_are_never_exchanged(tmp_path: Path) -> None:
    tree = corpora.fluent_speech_commands(tmp_path / "data")
    recording = tree.root / tree.audio
    for name in (recording.name.upper(), recording.name.replace(".wav", ".Wav")):
        shutil.copy(recording, recording.with_name(name))
    recording.unlink()
    [problem] = wrong("fluent_speech_commands", tree.root)
    assert f"there is no file '{tree.audio}' in {tree.root}; get it from" in problem


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("fluent_speech_commands", "*.wav"),
        ("voxceleb1_speaker", "*.wav"),
        ("mustard_plus_plus", "*.wav"),
        ("lithuanian_speech_commands", "*.wav"),
        ("asvspoof2019_la", "*.flac"),
    ],
)
def test_recordings_that_were_converted_are_read_with_a_note(tmp_path: Path, name: str, pattern: str) -> None:
    tree = BUILDERS[name](tmp_path / "data")
    ending = ".flac" if pattern == "*.wav" else ".wav"
    for path in list(tree.root.rglob(pattern)):
        record(path.with_suffix(ending))
        path.unlink()
    dataset = read(name, tree.root)
    assert sum(dataset.counts.values()) == tree.total
    assert any(note.endswith(f"{ending} instead of {pattern[1:]}") for note in dataset.notes)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("voxceleb1_speaker", ".m4a"),
        ("fluent_speech_commands", ".opus"),
        ("esc50", ".aac"),
        ("mustard", ".mkv"),
        ("iemocap", ".avi"),
    ],
)
def test_recordings_in_a_form_that_is_not_read_are_said_once_with_the_command(
    tmp_path: Path, name: str, ending: str
) -> None:
    tree = BUILDERS[name](tmp_path / "data")
    rename(tree.root, "*.wav", lambda name: name.replace(".wav", ending))
    [problem] = wrong(name, tree.root)
    assert f"*{ending}" in problem
    assert "ffmpeg" in problem


def test_the_command_that_converts_finds_every_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = corpora.voxceleb1_speaker(tmp_path / "some data")
    rename(tree.root, "*.wav", lambda name: name.replace(".wav", ".m4a"))
    tool = tmp_path / "bin/ffmpeg"
    tool.parent.mkdir()
    # The file that stands for the converter's input is a recording already.
    tool.write_text('#!/bin/sh\nfor last; do :; done\ncp "$3" "$last"\n', encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    [problem] = wrong("voxceleb1_speaker", tree.root, whole=True)
    subprocess.run(["sh", "-c", problem[problem.index("cd ") :]], check=True)
    assert sum(read("voxceleb1_speaker", tree.root).counts.values()) == tree.total


def test_sound_that_was_put_beside_the_videos_is_found(tmp_path: Path) -> None:
    tree = corpora.mustard(tmp_path / "data")
    (tree.root / "utterances_final").rename(tree.root / "utterances_final_wav")
    (tree.root / "utterances_final").mkdir()
    (tree.root / "utterances_final/1_60.mp4").touch()
    assert sum(read("mustard", tree.root).counts.values()) == tree.total


@pytest.mark.parametrize("place", ["/mnt/old/vad", "C:/Users/me/vad", "../elsewhere"])
def test_manifests_with_paths_of_another_machine_are_read(tmp_path: Path, place: str) -> None:
    tree = corpora.voice_activity(tmp_path / "data")
    for path in (tree.root / "manifest").iterdir():
        text = path.read_text(encoding="utf-8").replace(str(tree.root), place)
        path.write_text(text.replace("/", "\\\\") if place[1] == ":" else text, encoding="utf-8")
    dataset = read("voice_activity", tree.root)
    assert sum(dataset.counts.values()) == tree.total
    assert any(f"recordings are listed below {place}/" in note for note in dataset.notes)


@pytest.mark.parametrize("place", ["/etc", "/mnt/vad/../..", "../..", "/"])
def test_paths_of_another_machine_never_leave_the_root(tmp_path: Path, place: str) -> None:
    tree = corpora.voice_activity(tmp_path / "data")
    record(tmp_path / "data/training.wav")
    record(tmp_path / "elsewhere/bed/training.wav")
    path = tree.root / "manifest/balanced_speech_training_manifest.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"{tree.root}/google_speech_recognition_v2", f"{place}/elsewhere"), encoding="utf-8")
    problems = wrong("voice_activity", tree.root)
    assert problems
    assert all("is outside the root" in problem and "or set 'root', or write" in problem for problem in problems)


def test_directories_that_systems_leave_are_passed_over(tmp_path: Path) -> None:
    tree = corpora.lithuanian_speech_commands(tmp_path)
    for left in ("@eaDir", "__MACOSX", ".Trashes", "lost+found"):
        record(tmp_path / "dataset" / left / "x.wav")
    (tmp_path / "dataset/features").mkdir()
    (tmp_path / "dataset/Thumbs.db").touch()
    assert sum(read("lithuanian_speech_commands", tmp_path).counts.values()) == tree.total


def test_the_speaker_of_easycall_whom_nobody_rated_is_passed_over(tmp_path: Path) -> None:
    tree = corpora.easycall(tmp_path)
    record(tmp_path / "f04/Sessione01/f04_Sessione01_000_chiama.wav")
    assert sum(read("easycall", tmp_path).counts.values()) == tree.total


def test_speakers_of_easycall_who_are_not_there_are_one_problem_with_a_way_on(tmp_path: Path) -> None:
    tree = corpora.easycall(tmp_path)
    for speaker in ("f05", "m09", "m20"):
        shutil.rmtree(tmp_path / speaker)
    [problem] = wrong("easycall", tmp_path)
    assert "there is no directory of the speaker f05, nor any of 2 more; get it from" in problem
    assert problem.endswith(", or write 'missing: drop' under data to leave it out")
    dataset = read("easycall", tmp_path, missing="drop")
    assert sum(dataset.counts.values()) == tree.total - 30
    assert "there is no directory of the speaker f05, nor any of 2 more" in dataset.notes


def test_one_directory_of_english_is_enough(tmp_path: Path) -> None:
    tree = corpora.voxforge(tmp_path)
    (tmp_path / "downloads/SpeechCorpus").rename(tmp_path / "downloads/en")
    assert sum(read("voxforge", tmp_path).counts.values()) == tree.total
    assert (tmp_path / "downloads/en" / AUDIO).is_dir()
