"""A path that leads to no file is told by what its writer meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import object_storage
from task_specs.dataset import read_dataset
from task_specs.readers.audio_files import AudioFiles, NotFound
from tests.task_specs.files import delimited, problems_of, recordings, spec, task

BELOW = "set 'root' to the directory of the recordings, and write paths below it"


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("clips/A.wav", "did you mean 'clips/a.WAV'?"),
        ("clips/b.wav", "did you mean 'clips/b.flac'?"),
        ("clips/b", "did you mean 'clips/b.flac'?"),
        ("clips/b.flac ", "did you mean 'clips/b.flac'?"),
        ("clips/two%20words.ogg", "did you mean 'clips/two words.ogg'?"),
        ("Clips/b.flac", "did you mean 'clips/b.flac'?"),
        ("clips", "it is a directory; name a file in it"),
        ("b.flac", "add '/clips' to 'root', where it is"),
        ("audio/clips/b.flac", "the root already ends in 'audio'; leave it out of the paths"),
        ("https://host/b.flac", "fetch the file, and write its path"),
        ("file:///data/b.flac", BELOW),
        ("~/b.flac", f"~ is not expanded here; {BELOW}"),
        ("$DATA/b.flac", f"$DATA is not expanded here; {BELOW}"),
        ("${DATA}/b.flac", f"${{DATA}} is not expanded here; {BELOW}"),
        ("{data_root}/b.flac", f"{{data_root}} is not expanded here; {BELOW}"),
        ("C:\\data\\b.flac", f"it is a Windows path; {BELOW}, with / between directories"),
        ("clips\\b.flac", "write / between directories"),
        ("clips/c.flac", "correct the path, or set 'root'"),
    ],
)
def test_what_was_meant_is_told(tmp_path: Path, path: str, remedy: str) -> None:
    root = tmp_path / "audio"
    recordings(root, "clips/a.WAV", "clips/b.flac", "clips/two words.ogg", "clips/notes.v2")
    with pytest.raises(NotFound) as error:
        AudioFiles(str(root)).find(path)
    assert error.value.remedy == remedy


def test_many_missing_files_are_told_from_one_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings(tmp_path, *(f"{number}.flac" for number in range(50)))
    files = AudioFiles(str(tmp_path))
    asked: list[str] = []

    def counted(name: str) -> bool:
        asked.append(name)
        return True

    monkeypatch.setattr("task_specs.readers.audio_files.is_text", counted)
    for number in range(50):
        with pytest.raises(NotFound, match=f"did you mean '{number}.flac'"):
            files.find(f"{number}.wav")
    assert len(asked) == 100
    assert object_storage.basename(files.root) == tmp_path.name


TIMES = [(f"{split}.wav", label, split, str(place)) for split in ("train", "valid", "test")
         for place, label in enumerate("xyxy")]  # fmt: skip


def timed(tmp_path: Path, *names: str) -> list[dict[str, str]]:
    recordings(tmp_path, "train.wav", "valid.wav", "test.wav")
    return [
        {"path": path, "label": label, "split": split, names[0]: start, names[1]: "1.5" if names[1] == "duration"
         else str(int(start) + 1)}
        for path, label, split, start in TIMES
    ]  # fmt: skip


def test_beside_a_start_a_duration_says_where_a_clip_ends(tmp_path: Path) -> None:
    dataset = read_dataset(task(tmp_path, delimited(timed(tmp_path, "start", "duration"))))
    assert [(example.clip.start, example.clip.end) for example in dataset.split("test") if example.clip] == [
        (None, 1.5), (1.0, 2.5), (2.0, 3.5), (3.0, 4.5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (("start_time", "end_time"), "columns: {start: start_time, end: end_time}"),
        (("onset", "offset"), "columns: {start: onset, end: offset}"),
        (("begin", "end"), "columns: {start: begin}"),
        (("start", "stop"), "columns: {end: stop}"),
        (("offset", "duration"), "columns: {start: offset}"),
    ],
)
def test_times_by_other_names_are_noted(tmp_path: Path, names: tuple[str, str], given: str) -> None:
    notes = read_dataset(task(tmp_path, delimited(timed(tmp_path, *names)))).notes
    assert f"write '{given}' if these are seconds of the recording" in notes[0]


@pytest.mark.parametrize("names", [("audio_offset", "duration"), ("offset", "note"), ("start", "end")])
def test_columns_that_say_no_times_are_not_noted(tmp_path: Path, names: tuple[str, str]) -> None:
    content = timed(tmp_path, *names)
    assert not any("not read" in note for note in read_dataset(task(tmp_path, delimited(content))).notes)


@pytest.mark.parametrize("name", ["unknown", "Unknown", "UNK", "n/a", "none", "?", "-"])
def test_a_speaker_whom_nobody_knows_is_in_no_two_splits(tmp_path: Path, name: str) -> None:
    names = [f"{split}{label}.wav" for split in ("train", "valid", "test") for label in "xy"]
    recordings(tmp_path, *names)
    content = [{"path": path, "label": path[-5], "split": path[:-5], "speaker": name} for path in names]
    assert read_dataset(task(tmp_path, delimited(content))).notes == ()


@pytest.mark.parametrize("label", ['{"name": "x"}', '["x"]'])
def test_a_label_that_is_no_text_is_not_to_be_quoted(tmp_path: Path, label: str) -> None:
    recordings(tmp_path, "a.wav")
    row = f'{{"path": "a.wav", "label": {label}, "split": "train"}}\n'
    assert problems_of(task(tmp_path, row, name="data.jsonl"))[0].remedy == "write one text in each cell"


def test_a_pattern_names_no_table(tmp_path: Path) -> None:
    [problem] = problems_of(spec(tmp_path, data={"path": "train-*.csv"}))
    assert problem.remedy.startswith("name one table, or one per split")


def test_speechbrain_writes_the_length_in_place_of_the_duration(tmp_path: Path) -> None:
    names = [f"{split}{label}.wav" for split in ("train", "valid", "test") for label in "xy"]
    recordings(tmp_path, *names)
    cells = (
        f'"{path}": {{"wav": "{{data_root}}/{path}", "length": 1.5, "label": "{path[-5]}", "split": "{path[:-5]}"}}'
        for path in names
    )
    dataset = read_dataset(task(tmp_path, f"{{{', '.join(cells)}}}", name="data.json"))
    assert dataset.counts == {"train": 2, "valid": 2, "test": 2}


def folders(tmp_path: Path, *paths: str) -> list[str]:
    recordings(tmp_path / "rec", *paths)
    made = spec(tmp_path, data={"reader": "folders", "root": "rec", "check": "names", "duplicates": None})
    return [f"{problem.message}; {problem.remedy}" for problem in problems_of(made)]


def test_one_directory_of_recordings_is_no_task(tmp_path: Path) -> None:
    [problem] = folders(tmp_path, "yes/a.wav", "yes/b.wav", "yes/c.wav")
    assert (
        problem == "'yes' is the only directory, and would be the only label; add directories of other labels beside it"
    )


def test_a_table_beside_the_recordings_is_named(tmp_path: Path) -> None:
    [problem] = folders(tmp_path, "a.wav", "b.wav", "metadata.csv")
    assert "'reader: manifest' and 'path: " in problem
    assert "rec/metadata.csv'" in problem


@pytest.mark.parametrize(("first", "noted"), [("Actor_0", True), ("spk", True), ("digit", False)])
def test_speakers_that_hold_the_labels_are_noted(tmp_path: Path, first: str, noted: bool) -> None:
    recordings(tmp_path / "rec", *(f"{first}{person}/{label}/{place}.wav" for person in range(3) for label in "xy"
                                   for place in range(4)))  # fmt: skip
    made = spec(tmp_path, data={"reader": "folders", "root": "rec", "check": "names", "duplicates": None})
    notes = read_dataset(made).notes
    assert any("though they seem to be speakers" in note for note in notes) == noted
