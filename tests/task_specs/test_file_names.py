"""File names that are no text, links that lead nowhere, and characters that should not be in names."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest

from infra.errors import InvalidInputs, StorageError
from infra.uris import resolve
from task_specs.dataset import read_dataset
from task_specs.readers.audio_files import AudioFiles, NotFound
from task_specs.schema import TaskSpec
from tests.task_specs.files import delimited, problems_of, recordings, spec, task, texts

ODD = {
    "latin-1": "gr\udcfc\udcdfe",
    "cp437": "gr\udc81\udce1e",
    "shift_jis": "\udc93\udcfa\udc96{",
    "utf-16": "\udcff\udcfea",
    "half": "\udcc3",
}


def folders(tmp_path: Path) -> TaskSpec:
    recordings(tmp_path / "rec", *(f"{label}/{take}.wav" for label in ("no", "yes") for take in range(3)))
    return spec(tmp_path, data={"reader": "folders", "root": "rec", "check": "names"})


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
@pytest.mark.parametrize("place", ["no/{}.wav", "{}/a.wav", "no/{}/a.wav", "{}.WAV/{}.Wav"])
def test_a_name_that_is_not_utf8_is_a_problem(tmp_path: Path, name: str, place: str) -> None:
    odd = place.format(name, name)
    folders_spec = folders(tmp_path)
    recordings(tmp_path / "rec", odd)
    [said] = texts(folders_spec, tmp_path)
    assert said.startswith(("rec: ", "rec/no: "))
    assert said.endswith(": its name is not UTF-8; rename it")
    assert said.isascii()


def test_names_that_are_not_utf8_are_counted(tmp_path: Path) -> None:
    folders_spec = folders(tmp_path)
    recordings(tmp_path / "rec", *(f"no/{take}\udce4.wav" for take in range(50)), "no/text\udce4.txt")
    assert len(problems_of(folders_spec)) == 21
    assert texts(folders_spec, tmp_path)[-1] == "rec: and 30 more like this; rename it"


@pytest.mark.parametrize(
    ("written", "encoding"),
    [
        ("grüße.wav", "latin-1"),
        ("gru\u0308ße.wav", "latin-1"),
        ("grüße.wav", "cp437"),
        ("日本.wav", "shift_jis"),
        ("中文.wav", "gbk"),
        ("привет.wav", "cp866"),
    ],
)
def test_a_manifest_that_means_such_a_file_is_told(tmp_path: Path, written: str, encoding: str) -> None:
    (tmp_path / os.fsdecode(unicodedata.normalize("NFC", written).encode(encoding))).touch()
    rows = [{"path": written, "label": "yes", "split": "train"}]
    found = [problem for problem in problems_of(task(tmp_path, delimited(rows))) if problem.field == "path"]
    assert len(found) == 1
    assert found[0].message.endswith(", whose name is not UTF-8")
    assert found[0].remedy == "rename the file"


@pytest.mark.parametrize("path", ["gr\udcf6\udcdf.yaml", "\udcff", "s3://bucket/\udcff", "a/\udcff/b", "\udcff/../a"])
def test_no_path_is_other_than_utf8(path: str) -> None:
    with pytest.raises(StorageError, match=r"is not UTF-8; rename it"):
        resolve(path, "/here")


@pytest.mark.parametrize(
    ("path", "base", "most"),
    [
        ("a" * 256, "/", 255),
        ("é" * 128, "/", 255),
        (f"b/{'a' * 300}/c", "/", 255),
        ("/a" * 2100, "/", 4095),
        ("a", "/abc" * 1024, 4095),
    ],
)
def test_no_path_is_longer_than_a_disk_takes(path: str, base: str, most: int) -> None:
    with pytest.raises(StorageError, match=f"more than a file system allows; shorten it to {most}$") as raised:
        resolve(path, base)
    assert len(str(raised.value)) < 200


def test_a_long_path_in_a_manifest_is_not_repeated_whole(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as raised:
        AudioFiles(str(tmp_path)).find("a" * 100_000)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("target", ["nowhere.wav", "lost.wav", "../../nowhere", "no/nothing/a.wav"])
def test_a_link_to_nothing_is_a_problem(tmp_path: Path, target: str) -> None:
    folders_spec = folders(tmp_path)
    (tmp_path / "rec/no/lost.wav").symlink_to(target)
    assert texts(folders_spec, tmp_path) == [
        "rec: no/lost.wav: is a broken link, or not a file; restore the file, or remove it"
    ]
    rows = [{"path": "rec/no/lost.wav", "label": "yes", "split": "train"}]
    assert any("is a broken link" in problem.message for problem in problems_of(task(tmp_path, delimited(rows))))


def test_a_pipe_is_no_recording(tmp_path: Path) -> None:
    folders_spec = folders(tmp_path)
    os.mkfifo(tmp_path / "rec/no/pipe.wav")
    [said] = texts(folders_spec, tmp_path)
    assert said.startswith("rec: no/pipe.wav: is a broken link, or not a file")


@pytest.mark.parametrize(
    "links",
    [
        {"no/up": ".."},
        {"no/self": "."},
        {"no/other": "../yes", "yes/other": "../no"},
        {f"no/{name}": ".." for name in "abcdefgh"},
        {f"no/d{depth}/{name}": f"../d{depth + 1}" for depth in range(30) for name in "ab"},
    ],
)
def test_links_in_circles_end(tmp_path: Path, links: dict[str, str]) -> None:
    folders_spec = folders(tmp_path)
    (tmp_path / "rec/no/d30").mkdir()
    for name, target in links.items():
        (tmp_path / "rec" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "rec" / name).symlink_to(target, target_is_directory=True)
    found = texts(folders_spec, tmp_path)
    assert found
    assert all(said.endswith(": is a link to a directory that is read already; remove it") for said in found)


def test_a_link_to_another_place_is_followed(tmp_path: Path) -> None:
    folders_spec = folders(tmp_path)
    recordings(tmp_path / "disk", "maybe/0.wav", "maybe/1.wav", "maybe/2.wav")
    (tmp_path / "rec/maybe").symlink_to(tmp_path / "disk/maybe")
    assert read_dataset(folders_spec).labels == (("maybe", "no", "yes"),)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a\nb", "holds a line break; write it on one line"),
        ("a\tb", "holds the control character U+0009; remove it"),
        ("a\x1b[2Jb", "holds the control character U+001B; remove it"),
    ],
)
def test_a_name_that_no_bundle_can_hold_is_no_label(tmp_path: Path, name: str, said: str) -> None:
    folders_spec = folders(tmp_path)
    recordings(tmp_path / "rec", *(f"{name}/{take}.wav" for take in range(3)))
    with pytest.raises(InvalidInputs, match=re.escape(f"label: {name!r} {said}")) as raised:
        read_dataset(folders_spec)
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize("name", ["a\u202eb", "[red]a", ":cat:", "a'b\"c", "a\\b", " a "])
def test_any_other_name_is_a_name(tmp_path: Path, name: str) -> None:
    folders_spec = folders(tmp_path)
    recordings(tmp_path / "rec", *(f"{name}/{name}{take}.wav" for take in range(3)))
    dataset = read_dataset(folders_spec)
    assert dataset.labels == (tuple(sorted(("no", "yes", name.strip()))),)
    assert dataset.counts == {"train": 3, "valid": 3, "test": 3}
