"""Lists of data sets as others write them, rows of official lists that are wrong, and recordings that are missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from task_specs.dataset import read_dataset
from tests.fixtures import corpora
from tests.fixtures.corpora import BUILDERS
from tests.task_specs.corpora.data_sets import read, spec_of, wrong

META, SPLIT = "vox1_meta.csv", "iden_split.txt"
PROTOCOL = "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"
EVALUATION = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"

Rewrite = Callable[[str], str | bytes]


def lines(change: Callable[[list[str]], list[str]], separator: str = "\t") -> Rewrite:
    """A change of the cells of each line."""
    return lambda text: "".join(
        "\n" if not line else f"{','.join(change(line.split(separator)))}\n" for line in text.split("\n")
    )


DIALECTS: list[tuple[str, str, Rewrite]] = [
    ("voxceleb1_gender", META, lambda text: text.replace("\t", ",").replace("VoxCeleb1 ID", "VoxCeleb1_ID")),
    ("voxceleb1_gender", META, lambda text: text.replace("\t", ";")),
    ("voxceleb1_gender", META, lambda text: text.replace("\t", " ,")),
    ("voxceleb1_gender", META, lambda text: text.replace("\n", "\r\n").encode("utf-8-sig")),
    ("voxceleb1_gender", META, lambda text: text.encode("utf-16")),
    ("voxceleb1_gender", META, lambda text: text.replace("A.J.", "Beyonc\u00e9").encode("latin-1")),
    ("voxceleb1_gender", META, lambda text: text.partition("\n")[2]),
    ("voxceleb1_gender", META, lambda text: text.replace("\tm\t", "\tMale\t").replace("\tf\t", "\tFemale\t")),
    ("voxceleb1_gender", META, lines(lambda cells: ["0", *reversed(cells)])),
    ("voxceleb1_gender", META, lambda text: text.replace("A.J._id10001", '"Doe, Jane"').replace("\t", ",")),
    ("voxceleb1_speaker", SPLIT, lambda text: text.replace(" ", ",")),
    ("voxceleb1_speaker", SPLIT, lambda text: text.replace(" ", "\t").replace("\n", "\r\n")),
    ("voxceleb1_speaker", SPLIT, lambda text: text.replace(" ", " wav/")),
    ("voxceleb1_speaker", SPLIT, lambda text: text.replace(" ", " /data/voxceleb1/dev/wav/")),
    ("voxceleb1_speaker", SPLIT, lambda text: text.replace(" ", " .\\").replace("/", "\\")),
    ("asvspoof2019_la", PROTOCOL, lambda text: text.replace(" - A", " A").replace(" - -", " -")),
    ("asvspoof2019_la", PROTOCOL, lambda text: text.replace(" ", "\t").replace("\n", "\r\n")),
    ("asvspoof2019_la", PROTOCOL, lambda text: text.replace(" ", ",")),
    ("asvspoof2019_la", PROTOCOL, lambda text: ("\ufeff" + text + "\n\n").encode()),
    ("iemocap", EVALUATION, lambda text: text.replace("\n", "\r\n")),
    ("iemocap", EVALUATION, lambda text: text.replace("Neutral;\t()", "Neutral;\t(\u00e9mu)").encode("latin-1")),
    ("fluent_speech_commands", "data/train_data.csv", lambda text: text.encode("utf-8-sig")),
    ("fluent_speech_commands", "data/train_data.csv",
     lambda text: text.replace("the lights, please", "the caf\u00e9 lights").encode("latin-1")),
    ("fluent_speech_commands", "data/train_data.csv", lambda text: text.replace("speakerId", "speakerID")),
    ("esc50", "meta/esc50.csv", lambda text: text.replace("filename,fold", " Filename ,Fold")),
    ("fluent_speech_commands", "data/test_data.csv", lambda text: text.encode("utf-16")),
    ("mustard_plus_plus", "mustard++_text.csv", lambda text: text.replace("Well,", "Well\u2026").encode("cp1252")),
    ("mustard_plus_plus", "mustard++_text.csv",
     lambda text: text.replace(",1,PRO", ",1.0,PRO").replace("Sarcasm,", "sarcasm,")),
    ("mustard", "sarcasm_data.json", lambda text: text.encode("utf-8-sig")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "rewrite"), DIALECTS)
def test_lists_may_be_written_in_other_ways(tmp_path: Path, name: str, path: str, rewrite: Rewrite) -> None:
    tree = BUILDERS[name](tmp_path / "data")
    before = read(name, tree.root)
    written = rewrite((tree.root / path).read_text(encoding="utf-8"))
    (tree.root / path).write_bytes(written.encode() if isinstance(written, str) else written)
    after = read(name, tree.root)
    assert after.counts == before.counts
    assert after.examples == before.examples


def test_a_list_in_latin_1_is_noted(tmp_path: Path) -> None:
    tree = corpora.voxceleb1_gender(tmp_path)
    text = (tmp_path / META).read_text(encoding="utf-8").replace("A.J.", "Beyonc\u00e9")
    (tmp_path / META).write_bytes(text.encode("latin-1"))
    dataset = read("voxceleb1_gender", tmp_path)
    assert sum(dataset.counts.values()) == tree.total
    assert f"{META} is not UTF-8 and was read as Latin-1" in dataset.notes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Gender", "Sex of them", f"{META}:1: has no column Gender; get the file again"),
        ("Set", "", f"{META}:1: has no column Set; get the file again"),
        ("id10003", "id19999", f"{META}: lacks 1 speakers, the first of them id10003; get the file again"),
    ],
)
def test_a_list_of_people_that_will_not_do_is_one_problem(tmp_path: Path, old: str, new: str, said: str) -> None:
    corpora.voxceleb1_gender(tmp_path)
    text = (tmp_path / META).read_text(encoding="utf-8")
    (tmp_path / META).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert wrong("voxceleb1_gender", tmp_path) == [said]


@pytest.mark.parametrize("broken", ["Disgust", "Anger", "", "_u", "1_SHE1"])
def test_a_remark_whose_key_is_broken_goes_by_its_scene(tmp_path: Path, broken: str) -> None:
    tree = corpora.mustard_plus_plus(tmp_path)
    text = (tmp_path / "mustard++_text.csv").read_text(encoding="utf-8")
    assert "1_SHE0,1_SHE0_u," in text
    (tmp_path / "mustard++_text.csv").write_text(text.replace(",1_SHE0_u,", f",{broken},"), encoding="utf-8")
    dataset = read("mustard_plus_plus", tmp_path)
    assert sum(dataset.counts.values()) == tree.total
    assert any(str(example.clip).count("1_SHE0_u.wav") for example in dataset.examples)


@pytest.mark.parametrize(
    ("name", "pattern", "left", "first"),
    [
        ("esc50", "audio/*-1000*-A-*.wav", 200, "audio/1-10000-A-0.wav"),
        ("voxceleb1_speaker", "dev/wav/id10003/*/*.wav", 20, "dev/wav/id10003/na8-QEFmj04/00003.wav"),
        (
            "asvspoof2019_la",
            "ASVspoof2019_LA_dev/flac/*_10000[01].flac",
            10,
            "ASVspoof2019_LA_dev/flac/LA_D_100000.flac",
        ),
        ("mustard_plus_plus", "final_utterance_videos/*0_u.wav", 9, "final_utterance_videos/1_SHE0_u.wav"),
        ("mustard", "utterances_final/*_[29].wav", 8, "utterances_final/7_9.wav"),
    ],
)
def test_missing_recordings_are_one_problem_with_a_way_on(
    tmp_path: Path, name: str, pattern: str, left: int, first: str
) -> None:
    tree = BUILDERS[name](tmp_path / "data")
    gone = list(tree.root.glob(pattern))
    for path in gone:
        path.unlink()
    assert len(gone) == tree.total - left
    [problem] = wrong(name, tree.root)
    assert f"there is no file '{first}' in {tree.root}, and {len(gone) - 1} more of the " in problem
    assert problem.endswith(", or write 'missing: drop' under data to leave it out")
    dataset = read(name, tree.root, missing="drop")
    assert sum(dataset.counts.values()) == left
    [note] = [note for note in dataset.notes if "left out" in note]
    assert note.startswith(f"{len(gone)} of ")
    assert note.endswith(f" recordings are missing and left out, the first {first}")


@pytest.mark.parametrize(
    ("name", "path", "content", "said"),
    [
        ("mustard_plus_plus", "mustard++_text.csv", "\n<!DOCTYPE html><html>", "is an HTML page"),
        ("mustard", "sarcasm_data.json", "<html lang=en>", "is an HTML page"),
        ("fluent_speech_commands", "data/train_data.csv", "\ufeff<!doctype HTML>", "is an HTML page"),
        ("voxceleb1_speaker", SPLIT, "<!DOCTYPE HTML PUBLIC>", "is an HTML page"),
        (
            "fluent_speech_commands",
            "data/test_data.csv",
            "version https://git-lfs.github.com/spec/v1\n",
            "is a git-LFS pointer",
        ),
    ],
)
def test_what_a_download_saved_in_place_of_a_list_is_said(
    tmp_path: Path, name: str, path: str, content: str, said: str
) -> None:
    tree = BUILDERS[name](tmp_path / "data")
    (tree.root / path).write_text(content, encoding="utf-8")
    [problem] = wrong(name, tree.root)
    assert problem.startswith(f"{path}: {said}")


def test_a_list_may_have_the_name_of_its_address(tmp_path: Path) -> None:
    tree = corpora.mustard_plus_plus(tmp_path)
    (tmp_path / "mustard++_text.csv").rename(tmp_path / "mustard%2B%2B_text.csv")
    assert sum(read("mustard_plus_plus", tmp_path).counts.values()) == tree.total


def test_a_data_set_without_any_recording_is_no_data_set(tmp_path: Path) -> None:
    tree = corpora.esc50(tmp_path)
    for path in (tmp_path / "audio").iterdir():
        path.unlink()
    problems = wrong("esc50", tmp_path, missing="drop")
    assert f"and {tree.total - 1} more of the {tree.total} recordings listed are missing" in problems[0]


def test_nothing_is_left_out_of_a_whole_data_set(tmp_path: Path) -> None:
    corpora.fluent_speech_commands(tmp_path)
    assert read("fluent_speech_commands", tmp_path, missing="drop") == read_dataset(
        spec_of("fluent_speech_commands", tmp_path)
    )
