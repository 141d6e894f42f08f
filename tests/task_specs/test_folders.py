"""Recordings in a folder for each label."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra import object_storage
from task_specs.dataset import read_dataset
from task_specs.schema import TaskSpec, load_task_spec
from tests.fixtures.corpora import record
from tests.fixtures.s3_server import S3Server
from tests.task_specs.files import problems_of, recordings, spec, texts


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


def lay(root: Path, tree: Mapping[str, int]) -> None:
    """Directories with so many recordings each."""
    for directory, count in tree.items():
        (root / directory).mkdir(parents=True, exist_ok=True)
        recordings(root, *(f"{directory}/{take}.wav" for take in range(count)))


def splits(*names: str) -> dict[str, int]:
    return {f"{name}/{label}": 3 for name in names for label in ("no", "yes")}


def folders(tmp_path: Path, **data: object) -> TaskSpec:
    return spec(tmp_path, data={"reader": "folders", "root": "rec", "check": "names", **data})


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "DEV", "Test"),
        ("training", "validation", "testing"),
        ("train", "dev", "eval"),
        ("TRAINING", "devel", "Evaluation"),
        ("train_set", "dev-set", "testset"),
        ("train_data", "Development", "TestAudio"),
        ("ｔｒａｉｎ", "valid ", "test"),
    ],
)
def test_splits_go_by_the_names_that_people_give_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    lay(tmp_path / "rec", splits(*names))
    lay(tmp_path / "rec", {f"{names[0]}/yes": 5})
    dataset = read_dataset(folders(tmp_path))
    assert dataset.labels == (("no", "yes"),)
    assert dataset.counts == {"train": 8, "valid": 6, "test": 6}
    assert dataset.notes == tuple(f"{name!r} is taken as test" for name in names if name.lower().startswith("eval"))


def test_eval_beside_test_is_valid(tmp_path: Path) -> None:
    lay(tmp_path / "rec", splits("train", "eval", "test"))
    dataset = read_dataset(folders(tmp_path))
    assert dataset.counts == {"train": 6, "valid": 6, "test": 6}
    assert dataset.notes == ("'eval' is taken as valid",)


DRAWN = "or write 'split: drawn' under data if every directory is a label"


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (splits("train", "test"), f"rec: 'test' and 'train' are names of splits, but no directory is one of valid; add "
         f"one, {DRAWN}"),
        (splits("test"), "rec: 'test' is the name of a split, but no directory is one of train and valid; add them, or "
         "add '/test' to 'root' to have its recordings split"),
        (splits("train", "dev", "val", "test"), "rec: 'dev' and 'val' are names of the same split valid; keep or "
         f"rename one of them, {DRAWN}"),
        (splits("train", "dev", "test", "eval"), "rec: 'eval' and 'test' are names of the same split test; keep or "
         f"rename one of them, {DRAWN}"),
        (splits("train", "valid", "validation"), "rec: 'valid' and 'validation' are names of the same split valid; "
         f"keep or rename one of them, {DRAWN}"),
        (splits("train-clean", "dev-clean", "test-other"), "rec: 'dev-clean', 'test-other' and 'train-clean' seem to "
         f"be splits; name them train, valid and test, {DRAWN}"),
        ({"dev": 3, "test": 3}, "rec: 'dev' and 'test' are names of splits, but no directory is one of train; add one, "
         f"{DRAWN}"),
        ({"yes": 3, "no": 3, "test/yes": 1, "test/no": 1}, "rec: 'test' is the name of a split and holds 'no' and "
         "'yes', which are also beside it; put every label into one of train, valid and test"),
        ({"yes/train": 3, "yes/test": 3, "no/train": 3, "no/test": 3}, "rec: the directories of labels hold those of "
         f"splits, such as no/test; put splits first, as in train/no, {DRAWN}"),
        ({"data/yes": 3, "data/no": 3}, "rec: 'data' is the only directory, and would be the only label; add '/data' "
         "to 'root' if the labels are there"),
        ({"a/b/c/yes": 3, "a/b/c/no": 3}, "rec: 'a' is the only directory, and would be the only label; add '/a/b/c' "
         "to 'root' if the labels are there"),
        ({"fold1/yes": 3, "fold2/yes": 3}, f"rec: 'fold1' and 'fold2' seem to be parts of the data; join their "
         f"directories, {DRAWN}"),
        ({"Part_01/yes": 3, "Part_02/no": 3}, f"rec: 'Part_01' and 'Part_02' seem to be parts of the data; join their "
         f"directories, {DRAWN}"),
        ({"yes": 3, "no": 3, "maybe": 0}, "rec: 'maybe' is a label without a recording; add some, or remove it"),
        ({**splits("train", "val", "test"), "test/maybe/deep": 0}, "rec: 'test/maybe' is a label without a recording; "
         "add some, or remove it"),
        ({".": 4}, "rec: holds 4 recordings, but no directories of labels; put each recording into a directory of its "
         "label"),
        ({".": 0}, "rec: holds no directories; correct 'root'"),
        ({f"speaker{number}": 1 for number in range(9)}, "rec: no label has 3 recordings, one for each split; add "
         "some; name directories by labels, not by speakers or recordings"),
        ({"yes": 3, "no": 3, " ": 3}, "rec/ : its name is blank, and would be a label; rename it"),
    ],
)  # fmt: skip
def test_a_directory_is_a_label_only_if_it_can_be_one(tmp_path: Path, tree: dict[str, int], said: str) -> None:
    lay(tmp_path / "rec", tree)
    assert said in texts(folders(tmp_path), tmp_path)


@pytest.mark.parametrize("words", [("train", "valid"), ("dev", "test"), ("train", "valid", "test"), ("val", "dev")])
def test_words_for_splits_can_be_labels(tmp_path: Path, words: tuple[str, ...]) -> None:
    lay(tmp_path / "rec", dict.fromkeys(words, 4))
    assert read_dataset(folders(tmp_path, split="drawn")).labels == (tuple(sorted(words)),)


def test_a_single_word_for_a_split_among_labels_is_one(tmp_path: Path) -> None:
    lay(tmp_path / "rec", {"bus": 3, "car": 3, "train": 3})
    dataset = read_dataset(folders(tmp_path))
    assert dataset.labels == (("bus", "car", "train"),)
    assert dataset.notes == ("'train' is taken as a label, since the directories beside it are not splits",)


@pytest.mark.parametrize(
    ("ending", "counted"),
    [("m4a", "2 .m4a"), ("OPUS", "2 .opus"), ("webm", "2 .webm"), ("zip", "2 .zip"), ("wav.part", "2 .part")],
)
def test_a_label_of_other_files_is_to_be_converted(tmp_path: Path, ending: str, counted: str) -> None:
    lay(tmp_path / "rec", {"yes": 3, "no": 3})
    recordings(tmp_path / "rec", f"maybe/0.{ending}", f"maybe/1.{ending}", "maybe/Thumbs.db")
    assert texts(folders(tmp_path), tmp_path) == [
        f"rec: 'maybe' holds no WAV, FLAC, OGG or MP3, but {counted}; convert them to WAV or FLAC, or move the "
        "directory away"
    ]


@pytest.mark.parametrize(
    ("files", "note"),
    [
        (("yes/a.m4a", "yes/b.M4A", "no/c.m4a", "no/c.txt"), "left out because they do not end in .wav, .flac, .ogg "
         "or .mp3: .m4a 3 (yes 2, no 1), .txt 1 (no 1)"),
        (("yes/a", "no/deep/b.wav.part"), "left out because they do not end in .wav, .flac, .ogg or .mp3: (no ending) "
         "1 (yes 1), .part 1 (no 1)"),
        (("a.wav", "b.FLAC", "README.md"), "2 recordings left out because they are in no label's directory: 'a.wav' "
         "and 'b.FLAC'"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_noted(tmp_path: Path, files: tuple[str, ...], note: str) -> None:
    lay(tmp_path / "rec", {"yes": 3, "no": 3})
    recordings(tmp_path / "rec", *files)
    dataset = read_dataset(folders(tmp_path))
    assert dataset.counts == {"train": 2, "valid": 2, "test": 2}
    assert dataset.notes == (note,)


def test_recordings_beside_splits_are_noted(tmp_path: Path) -> None:
    lay(tmp_path / "rec", {**splits("train", "val", "test"), "noise/deep": 2, "scripts": 0})
    recordings(tmp_path / "rec", "val/loose.wav")
    dataset = read_dataset(folders(tmp_path))
    assert dataset.counts == {"train": 6, "valid": 6, "test": 6}
    assert dataset.notes == (
        "1 recordings left out because they are in no label's directory: 'val/loose.wav'",
        "left out because they are beside the splits: 'noise' (2 recordings)",
    )


@pytest.mark.parametrize(
    "path",
    ["__MACOSX/yes/._0.wav", "@eaDir/a.wav", "yes/@eaDir/0.wav", ".ipynb_checkpoints/0.wav", "yes/._0.wav",
     "lost+found/0.wav", "no/.Trash/0.wav", "#recycle/yes/9.wav", "System Volume Information/x.wav"],
)  # fmt: skip
def test_what_systems_leave_behind_is_no_data(tmp_path: Path, path: str) -> None:
    lay(tmp_path / "rec", {"yes": 3, "no": 3})
    recordings(tmp_path / "rec", path)
    dataset = read_dataset(folders(tmp_path))
    assert dataset.labels == (("no", "yes"),)
    assert dataset.counts == {"train": 2, "valid": 2, "test": 2}
    assert dataset.notes == ()


def test_directories_of_one_label_are_one(tmp_path: Path) -> None:
    lay(tmp_path / "rec", {"ž": 3, unicodedata.normalize("NFD", "ž"): 3, "yes": 3, "yes ": 3})
    dataset = read_dataset(folders(tmp_path))
    assert dataset.labels == (("yes", "ž"),)
    assert dataset.notes == ("several directories have names of the same label 'yes' and 'ž'",)


def test_few_recordings_are_noted(tmp_path: Path) -> None:
    lay(tmp_path / "rec", {"yes": 3, "no": 3, **{f"rare{number}": 2 for number in range(7)}})
    assert read_dataset(folders(tmp_path)).notes == (
        "7 of 9 labels have fewer than 3 recordings, and are in train only: 'rare0', 'rare1', 'rare2', 'rare3', "
        "'rare4' and 2 more",
    )


def test_folders_in_s3(tmp_path: Path, s3: S3Server) -> None:
    prefix = s3.fresh_prefix()
    for path in (*(f"Train/{label}/{take}.wav" for label in ("yes", "no") for take in range(2)), "VAL/yes/a.wav",
                 "eval/no/b\x1b[1m.wav", "eval/no", "eval/no/c.m4a"):  # fmt: skip
        object_storage.write_bytes(f"{prefix}/{path}", b"")
    dataset = read_dataset(folders(tmp_path, root=prefix, duplicates=None))
    assert dataset.counts == {"train": 4, "valid": 1, "test": 1}
