"""Data sets that were downloaded and not unpacked, or not all of it: what is said, and whether the command helps."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from task_specs.readers.archives import archives
from task_specs.readers.corpora.voxforge import AUDIO
from tests.fixtures import corpora
from tests.fixtures.corpora import BUILDERS
from tests.task_specs.corpora.data_sets import read, wrong


def pack(root: Path, path: str, archive: str, *, bare: bool = False) -> None:
    """Packs a directory below the root into an archive there, and removes it."""
    source = root / path
    inside = "" if bare else source.name
    (root / archive).parent.mkdir(parents=True, exist_ok=True)
    if archive.endswith(".zip"):
        with zipfile.ZipFile(root / archive, "w") as packed:
            for file in sorted(source.rglob("*")):
                packed.write(file, Path(inside) / file.relative_to(source))
    else:
        with tarfile.open(root / archive, "w:gz") as packed:
            packed.add(source, inside or ".")
    shutil.rmtree(source)


def run(problem: str) -> None:
    """Runs the command that a problem names."""
    command = problem[problem.index("cd ") :].partition(", or ")[0]
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)


PACKED: list[tuple[str, tuple[tuple[str, str], ...]]] = [
    ("voxforge", tuple((f"downloads/ru/{AUDIO}/{name}", f"downloads/ru/{AUDIO}/{name}.tgz")
                       for name in ("anonymous-20080412-gsr", "anonymous-20100101-abc", "Bob-20090202-xyz",
                                    "Bob-20090303-kkk"))),
    ("voxforge", ((f"downloads/de/{AUDIO}/Bob-20090202-xyz", f"downloads/de/{AUDIO}/Bob-20090202-xyz.tgz"),)),
    ("iemocap", (("Session4", "Session4.tar.gz"),)),
    ("fluent_speech_commands", (("wavs", "wavs.tar.gz"),)),
    ("fluent_speech_commands", (("data", "data lists.tgz"),)),
    ("asvspoof2019_la", (("ASVspoof2019_LA_eval", "ASVspoof2019_LA_eval.tar.gz"),)),
    ("voxceleb1_speaker", (("test/wav", "test/vox1_test_wav.tgz"),)),
    ("google_speech_commands_v1", (("speech_commands_v0.01", "speech_commands_v0.01.tar.gz"),)),
    ("lithuanian_speech_commands", (("dataset", "lt.tar.gz"),)),
    ("mustard", (("utterances_final", "mmsd_raw_data/raw.tgz"),)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "packed"), PACKED)
def test_the_command_that_is_named_unpacks_what_is_missing(
    tmp_path: Path, name: str, packed: tuple[tuple[str, str], ...]
) -> None:
    tree = BUILDERS[name](tmp_path / "some data")
    for path, archive in packed:
        pack(tree.root, path, archive, bare=name.startswith("google"))
    [problem] = wrong(name, tree.root, whole=True)
    assert Path(packed[0][1]).name in problem or "4 archives (.tgz)" in problem
    run(problem)
    assert sum(read(name, tree.root).counts.values()) == tree.total


def test_nothing_but_an_archive_is_one_problem_for_each_data_set(tmp_path: Path) -> None:
    for name in ("dysarthric_mandarin_speech_commands", "easycall", "iemocap", "esc50", "asvspoof2019_la", "grabo"):
        root = tmp_path / name
        root.mkdir()
        with zipfile.ZipFile(root / "all.zip", "w") as packed:
            packed.writestr("x", "")
        [problem] = wrong(name, root)
        assert "but all.zip" in problem
        assert f"; unpack it: cd {root} && unzip -q all.zip" in problem


def test_nothing_at_all_is_one_problem_too(tmp_path: Path) -> None:
    for name in BUILDERS:
        root = tmp_path / name
        root.mkdir()
        problems = wrong(name, root)
        # Each of its two lists comes from a place of its own.
        assert len(problems) == (2 if name == "voxceleb1_gender" else 1), problems
        assert all("get it from" in problem for problem in problems)


def test_a_root_that_is_an_archive_or_a_file_is_said(tmp_path: Path) -> None:
    archive = tmp_path / "ESC-50-master.zip"
    archive.touch()
    assert wrong("esc50", archive) == [
        f"{archive}: is an archive; unpack it and name its directory: cd {tmp_path} && unzip -q ESC-50-master.zip"
    ]
    table = tmp_path / "esc50.csv"
    table.touch()
    assert wrong("esc50", table) == [f"{table}: is a file; name its directory, {tmp_path}"]


@pytest.mark.parametrize(
    ("names", "said", "command"),
    [
        (["vox1_dev_wav_partaa", "vox1_dev_wav_partab", "vox1_test_wav.zip"], "3 archives (.zip)",
         "cat vox1_dev_wav_part?? > vox1_dev_wav.zip && unzip -q vox1_dev_wav.zip && unzip -q vox1_test_wav.zip"),
        (["vox1_dev_wav.zip", "vox1_dev_wav_partaa"], "2 archives (.zip)", "unzip -q vox1_dev_wav.zip"),
        (["a.tar.gz.partaa", "a.tar.gz.partab"], "2 archives (.tar.gz)",
         "cat a.tar.gz.part?? > a.tar.gz && tar -xf a.tar.gz"),
        (["a.zip.001", "a.zip.002"], "2 archives (.zip)", "cat a.zip.[0-9]* > a.zip && unzip -q a.zip"),
        (["a.7z.001", "a.7z.002"], "2 archives (.7z)", "7z x a.7z.001"),
        (["a.z01", "a.z02", "a.zip"], "3 archives (.z01, .z02, .zip)",
         "zip -s 0 a.zip --out a-whole.zip && unzip -q a-whole.zip"),
        (["a b.rar"], "a b.rar", "unrar x 'a b.rar'"),
        (["LA.ZIP"], "LA.ZIP", "unzip -q LA.ZIP"),
        (["x.tbz2", "y.txz"], "2 archives (.tbz2, .txz)", "tar -xf x.tbz2 && tar -xf y.txz"),
        (["$(reboot).tgz"], "$(reboot).tgz", "tar -xf '$(reboot).tgz'"),
    ],
)  # fmt: skip
def test_archives_of_every_kind_have_their_command(names: list[str], said: str, command: str) -> None:
    found = archives("/data", [*names, "a.wav", "meta.csv", "README.md", "take.01"])
    assert found is not None
    assert str(found) == said
    assert found.command() == f"cd /data && {command}"


def test_files_that_are_no_archives_are_none() -> None:
    names = [
        "a.wav",
        "esc50.csv",
        "take_01.wav",
        "x.zip.txt",
        "part",
        "session-01",
        "iden_split.txt",
        "a_partner",
        "a.zip.md",
    ]
    assert archives("/data", names) is None


def test_sessions_that_are_still_packed_are_counted(tmp_path: Path) -> None:
    tree = corpora.voxforge(tmp_path)
    place = tmp_path / "downloads/it" / AUDIO
    for number in range(3):
        (place / f"l.ate-2010010{number}-abc.tgz").touch()
    shutil.make_archive(str(place / "Bob-20090202-xyz"), "zip", place / "Bob-20090202-xyz")
    [problem] = wrong("voxforge", tree.root)
    assert problem.startswith(
        f"downloads/it/{AUDIO}: holds 4 archives (.tgz, .zip), of which 3 are not unpacked, the first "
        "l.ate-20100100-abc.tgz; unpack them: cd "
    )
    assert problem.endswith('&& for f in *.tgz; do tar -xf "$f"; done, or move them away')


def test_archives_in_s3_are_to_be_unpacked_elsewhere() -> None:
    found = archives("s3://bucket/esc50", ["ESC-50-master.zip"])
    assert found is not None
    assert found.command() == "in a copy, and upload what it holds"
