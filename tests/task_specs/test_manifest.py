"""Manifests in every format, and everything that can be wrong with one."""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra import object_storage
from infra.errors import InvalidInputs, MissingExtra
from task_specs.dataset import read_dataset
from task_specs.example import SPLITS, Clip, Example
from tests.fixtures.s3_server import S3Server
from tests.fixtures.shared_data import SHARED_DATA
from tests.task_specs.files import SOUND, Rows, delimited, problems_of, recordings, spec, task, texts

EXAMPLES = (
    Example("train", ("yes",), units=(1, 2, 3)),
    Example("train", ("no",), units=(4, 5)),
    Example("valid", ("no",), units=(6,)),
    Example("test", ("yes",), units=(7, 8, 7)),
)


def parquet(rows: Rows, path: Path) -> bytes:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)
    return path.read_bytes()


def as_lists(rows: Rows) -> list[dict[str, Any]]:
    return [{**row, "units": [int(unit) for unit in row["units"].split()]} for row in rows]


@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_examples(tmp_path: Path, format_: str) -> None:
    content: dict[str, Any] = {
        "csv": delimited(SOUND).encode("utf-8-sig"),
        "tsv": delimited(SOUND, "\t"),
        "jsonl": "\n\n".join(map(json.dumps, as_lists(SOUND))),
        "parquet": parquet(as_lists(SOUND), tmp_path / "written.parquet"),
    }
    dataset = read_dataset(task(tmp_path, content[format_], name=f"data.{format_}"))
    assert dataset.examples == EXAMPLES
    assert dataset.labels == (("no", "yes"),)
    assert dataset.counts == {"train": 2, "valid": 1, "test": 1}
    assert dataset.highest_unit == 8
    assert not dataset.audio


# Any text that is not empty once it is stripped, and can be printed on one line.
LABELS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cn", "Zl", "Zp")), min_size=1, max_size=8
).filter(str.strip)
UNITS = st.lists(st.integers(0, 500), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(LABELS, UNITS, st.sampled_from(SPLITS)), max_size=8),
    st.sampled_from(["csv", "tsv", "jsonl", "parquet"]),
)
def test_what_is_written_is_read(tmp_path: Path, drawn: list[tuple[str, list[int], str]], format_: str) -> None:
    """Labels of any Unicode text, quotes, separators and line breaks included, survive every format."""
    labels = {label for label, _, _ in drawn} | {"a", "b"}
    drawn = [(label, [0], split) for label in sorted(labels) for split in SPLITS] + drawn
    rows = [{"label": label, "split": split, "frame_units": units} for label, units, split in drawn]
    flat = [{**row, "frame_units": " ".join(map(str, row["frame_units"]))} for row in rows]
    content: str | bytes
    if format_ == "parquet":
        content = parquet(rows, tmp_path / "written.parquet")
    elif format_ == "jsonl":
        content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    else:
        content = delimited(flat, "," if format_ == "csv" else "\t")
    dataset = read_dataset(task(tmp_path, content, name=f"data.{format_}"))
    assert [example.labels[0] for example in dataset.examples] == [
        unicodedata.normalize("NFC", label).strip() for label, _, _ in drawn
    ]
    for example, (_, units, split) in zip(dataset.examples, drawn, strict=True):
        assert example.split == split
        assert example.units is not None
        assert example.durations is not None
        spread = zip(example.units, example.durations, strict=True)
        assert [unit for unit, frames in spread for _ in range(frames)] == units
        assert all(left != right for left, right in zip(example.units, example.units[1:], strict=False))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_any_bytes_are_examples_or_problems(tmp_path: Path, content: bytes, format_: str) -> None:
    header = b"units,label,split\n" if format_ == "csv" else b""
    broken = task(tmp_path, header + content, name=f"data.{format_}")
    with pytest.raises(InvalidInputs) as caught:
        read_dataset(broken)
    assert all(problem.file and problem.message and problem.remedy for problem in caught.value.problems)


CELL = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=3)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(dict.fromkeys(("path", "label", "split", "start", "end", "speaker"), CELL)),
        min_size=1,
        max_size=5,
    )
)
def test_any_json_rows_are_examples_or_problems(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    content = "\n".join(map(json.dumps, rows))
    assert problems_of(task(tmp_path, content, name="data.jsonl"))


def test_audio_rows_with_times_and_speakers(tmp_path: Path) -> None:
    recordings(tmp_path / "audio", "a.wav", "b/c.wav")
    content = """path,label,split,start,end,speaker
a.wav,x,train,,1.5,anna
a.wav,y,train,1.5,,
b/c.wav,x,valid,0,,ben
./b/../b/c.wav,y,test,2,3e0,
"""
    dataset = read_dataset(task(tmp_path, content, root="audio"))
    a, c = f"{tmp_path}/audio/a.wav", f"{tmp_path}/audio/b/c.wav"
    assert dataset.audio
    assert dataset.highest_unit is None
    assert [(example.clip, example.speaker) for example in dataset.examples] == [
        (Clip(a, None, 1.5), "anna"),
        (Clip(a, 1.5, None), None),
        (Clip(c, None, None), "ben"),
        (Clip(c, 2.0, 3.0), None),
    ]


def test_several_slots_and_renamed_columns(tmp_path: Path) -> None:
    recordings(tmp_path, "1.wav", "2.wav", "3.wav", "4.wav")
    content = "wav,set,action,object\n1.wav,train,on,lamp\n2.wav,train,off,1\n3.wav,valid,on,1\n4.wav,test,off,lamp\n"
    renamed = task(tmp_path, content, label=["action", "object"], columns={"path": "wav", "split": "set"})
    dataset = read_dataset(renamed)
    assert dataset.slots == ("action", "object")
    assert dataset.labels == (("off", "on"), ("1", "lamp"))
    assert dataset.examples[1].labels == ("off", "1")


def test_one_file_a_split(tmp_path: Path) -> None:
    for split in SPLITS:
        (tmp_path / f"{split}.tsv").write_text("label\tunits\nx\t1 2\ny\t3\n", encoding="utf-8")
    dataset = read_dataset(spec(tmp_path, data={"path": {split: f"{split}.tsv" for split in SPLITS}}))
    assert dataset.counts == {"train": 2, "valid": 2, "test": 2}


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_unicode_spelling_of_names_does_not_matter(tmp_path: Path, on_disk: Any, written: Any) -> None:
    names = ["žodžiai/ąžuolas.wav", "žodžiai/šuo.wav", "įrašai/ėjo.wav"]
    recordings(tmp_path, *(unicodedata.normalize(on_disk, name) for name in names))
    rows = [
        {"path": unicodedata.normalize(written, name), "label": label, "split": split}
        for name, split in zip(names, SPLITS, strict=True)
        for label in ("ą", unicodedata.normalize("NFD", "š"))
    ]
    dataset = read_dataset(task(tmp_path, delimited(rows)))
    assert dataset.labels == (("ą", "š"),)
    for example in dataset.examples:
        assert example.clip is not None
        assert Path(example.clip.uri).is_file()


def test_the_exact_name_wins_over_another_spelling(tmp_path: Path) -> None:
    both = [unicodedata.normalize(form, "š.wav") for form in ("NFC", "NFD")]
    recordings(tmp_path, *both)
    rows = [{"path": both[1], "label": label, "split": split} for label in "xy" for split in ["train"]]
    rows += [{"path": both[0], "label": "x", "split": "valid"}, {"path": both[0], "label": "y", "split": "valid"}]
    assert texts(task(tmp_path, delimited(rows)), tmp_path) == [
        "data.csv: split: no row belongs to the split test; put examples into train, valid and test"
    ]


AUDIO = "path,label,split\na.wav,x,train\na.wav,y,train\na.wav,x,{}\n"

FAULTS = {
    "label,split\nx,train\n": "data.csv:1: has no column 'path', 'units' or 'frame_units'; add one",
    "path,units,label,split\na,1,x,train\n": "data.csv:1: has more than one input: path and units; name the one",
    "path,lable,split\na.wav,x,train\n": "data.csv:1: label: there is no such column; did you mean 'lable'?",
    "path,label\na.wav,x\n": "data.csv:1: split: there is no such column",
    "path,label,split,label\na.wav,x,train,x\n": "data.csv:1: label: there are two columns of this name",
    "path,label,split\na.wav,x\n": "data.csv:2: has 2 cells where the header has 3; correct the row",
    "path,label,split\n\n\nb.wav,x,train\n": "data.csv:4: path: there is no file 'b.wav' in ",
    "path,label,split\nd,x,train\n": "data.csv:2: path: there is no file 'd' in ",
    "path,label,split\na\\b.wav,x,train\n": "write / between directories",
    "path,label,split\n../a.wav,x,train\n": "data.csv:2: path: '../a.wav' is outside the root ",
    "path,label,split\n/etc/passwd,x,train\n": "data.csv:2: path: '/etc/passwd' is outside the root ",
    "path,label,split\ns3://b/a.wav,x,train\n": "data.csv:2: path: 's3://b/a.wav' is outside the root ",
    "path,label,split\n,x,train\n": "data.csv:2: path: is empty; write the file's path",
    "path,label,split\na.wav, ,train\n": "data.csv:2: label: is empty; write a label, or remove the row",
    "path,label,split\na.wav,x,\n": "data.csv:2: split: is empty",
    "path,label,split\na.wav,x,valld\n": "data.csv:2: split: 'valld' is not a split; did you mean 'valid'?",
    AUDIO.format("valid"): "data.csv:4: split: this clip of split valid is also in train (data.csv:2); keep it in one",
    AUDIO.format("train"): "data.csv: split: no row belongs to the split valid; put examples into",
    "path,label,split,start\na.wav,x,train,1,5\n": "data.csv:2: has 5 cells where the header has 4",
    'path,label,split,start\na.wav,x,train,"1,5"\n': "data.csv:2: start: '1,5' is not a number of seconds; write seco",
    "path,label,split,start\na.wav,x,train,inf\n": "data.csv:2: start: 'inf' is not a number of seconds",
    "path,label,split,start\na.wav,x,train,-1\n": "data.csv:2: start: '-1' is before the beginning",
    "path,label,split,start,end\na.wav,x,train,2,2\n": "data.csv:2: end: the clip ends at 2 s, not after its",
    'path,label,split\n"a.wav"\n"a.wav,x,train\n': "data.csv:3: cannot be read from here on (unexpected end of data)",
    "units,label,split\n1 two,x,train\n": "data.csv:2: units: 'two' is not a unit number",
    "units,label,split\n1 -1,x,train\n": "data.csv:2: units: unit -1 is negative",
    "units,label,split\n1 40000,x,train\n": "data.csv:2: units: 40000 is not a unit number; units go from 0 to 32767",
    "units,label,split\n,x,train\n": "data.csv:2: units: holds no units",
    "units,label,split\n1 1,x,train\n": "data.csv:2: units: unit 1 follows itself, so these seem to be frames",
    "units,label,split\n1,x,train\n2,x,valid\n3,x,test\n": "data.csv: label: train has only the label 'x'",
    "units,label,split\n1,x,train\n1,y,train\n2,z,valid\n3,x,test\n": "data.csv:4: label: 'z' occurs in valid but not",
    "": "data.csv: is empty",
    "units,label,split\n": "data.csv: has a header, but no rows; write a row for each recording",
}


@pytest.mark.parametrize("content", FAULTS)
def test_each_fault_is_named_with_its_line(tmp_path: Path, content: str) -> None:
    recordings(tmp_path, "a.wav", "d/e.wav")
    found = texts(task(tmp_path, content), tmp_path)
    assert any(FAULTS[content] in text.replace(f"{tmp_path}", "") for text in found), found


def test_faults_of_one_file_are_reported_together(tmp_path: Path) -> None:
    content = "units,label,split\nx,a,train\n1 1,,train\n3,a,tset\n"
    assert texts(task(tmp_path, content), tmp_path) == [
        "data.csv:2: units: 'x' is not a unit number; write whole numbers separated by spaces",
        "data.csv:3: units: unit 1 follows itself, so these seem to be frames; "
        "name the column, 'columns: {frame_units: units}', or collapse repeats",
        "data.csv:3: label: is empty; write a label, or remove the row",
        "data.csv:4: split: 'tset' is not a split; did you mean 'test'?",
    ]


def test_a_kind_of_fault_is_spelled_out_twenty_times(tmp_path: Path) -> None:
    rows = [{"path": f"{i}.wav", "label": "x", "split": "train"} for i in range(50)]
    found = [problem for problem in problems_of(task(tmp_path, delimited(rows))) if problem.field == "path"]
    assert len(found) == 21
    assert found[19].file.endswith("data.csv:21")
    assert found[20].message == "and 30 more like this"


def test_the_columns_section_chooses_between_two_inputs(tmp_path: Path) -> None:
    rows = [{"path": "not-here.wav", **row} for row in SOUND]
    chosen = task(tmp_path, delimited(rows), columns={"units": "units"})
    assert read_dataset(chosen).examples == EXAMPLES


def test_splits_must_hold_the_same_kind_of_input(tmp_path: Path) -> None:
    for split in SPLITS:
        column = "frame_units" if split == "test" else "units"
        (tmp_path / f"{split}.csv").write_text(f"label,{column}\nx,1\ny,3\n", encoding="utf-8")
    found = texts(spec(tmp_path, data={"path": {split: f"{split}.csv" for split in SPLITS}}), tmp_path)
    assert found == [
        "test.csv: the manifests of this task differ: units and frame_units; give every split the same kind of input"
    ]


def test_every_manifest_is_read_before_problems_are_told(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("label,units\nx,-1\ny,1\n", encoding="utf-8")
    (tmp_path / "valid.csv").write_bytes("label,units\nž,1\n".encode("cp1257"))
    found = texts(spec(tmp_path, data={"path": {split: f"{split}.csv" for split in SPLITS}}), tmp_path)
    assert [text.split(":")[:2] for text in found[:2]] == [["train.csv", "2"], ["valid.csv", "2"]]
    assert found[2].startswith("test.csv")
    assert len(found) == 3


def test_line_numbers_count_lines_within_cells(tmp_path: Path) -> None:
    content = 'units,label,split\r\n1,"a\r\nb",train\r\nx,c,train\r\n'
    assert texts(task(tmp_path, content), tmp_path)[0].startswith("data.csv:4: units: 'x'")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "data.jsonl:1: is not a JSON object (column 2)"),
        ("[1]", "data.jsonl:1: is not a JSON object"),
        ('{"units": 1, "units": 2}', "data.jsonl:1: is not a JSON object: it holds a key twice"),
        ('{"units": Infinity}', "data.jsonl:1: is not a JSON object: it holds Infinity"),
        ("[" * 100_000, "data.jsonl:1: is not a JSON object"),
        ('{"units": [1], "label": "\\ud800", "split": "train"}', "data.jsonl:1: label: holds half of a surrogate"),
        ('{"units": [1], "label": 1.5, "split": "train"}', "data.jsonl:1: label: must be text or a whole number"),
        ('{"units": [true], "label": "x", "split": "train"}', "data.jsonl:1: units: the truth value true is not"),
        ('{"path": 7, "label": "x", "split": "train"}', "data.jsonl:1: path: must be a path, not the number 7"),
        ('{"path": "\\u0000", "label": "x", "split": "train"}', "data.jsonl:1: path: holds a NUL character"),
    ],
)
def test_faults_of_json_lines(tmp_path: Path, line: str, message: str) -> None:
    found = texts(task(tmp_path, line, name="data.jsonl"), tmp_path)
    assert any(text.startswith(message) for text in found), found


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'speechprompt\[train\]'"):
        read_dataset(task(tmp_path, b"", name="data.parquet"))


def test_a_format_that_is_not_known(tmp_path: Path) -> None:
    assert texts(task(tmp_path, "x", name="data.xlsx"), tmp_path)[0].startswith(
        "data.xlsx: the format of this file is not known; name it .csv"
    )


def test_a_root_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    rows = [{"path": f"{i}.wav", "label": "x", "split": "train"} for i in range(50)]
    found = texts(task(tmp_path, delimited(rows), root="nowhere"), tmp_path)
    assert found == ["data.csv: root: there is no directory nowhere; correct 'root'"]


def test_manifest_and_audio_in_s3(tmp_path: Path, s3: S3Server) -> None:
    prefix = s3.fresh_prefix()
    for name in ("audio/a.wav", unicodedata.normalize("NFD", "audio/š/b.wav")):
        object_storage.write_bytes(f"{prefix}/{name}", b"")
    rows = [
        {"path": "a.wav", "label": "x", "split": "train", "start": 0, "end": 1},
        {"path": "a.wav", "label": "y", "split": "train", "start": 1, "end": 2},
        {"path": "š/b.wav", "label": "x", "split": "valid", "start": 0, "end": 1},
        {"path": f"{prefix}/audio/a.wav", "label": "x", "split": "test", "start": 2, "end": 3},
    ]
    object_storage.write_bytes(f"{prefix}/data.csv", delimited(rows).encode())
    dataset = read_dataset(spec(tmp_path, data={"path": f"{prefix}/data.csv", "root": f"{prefix}/audio"}))
    assert dataset.examples[0].clip == Clip(f"{prefix}/audio/a.wav", None, 1.0)
    for example in dataset.examples:
        assert example.clip is not None
        assert object_storage.exists(example.clip.uri)

    rows[0]["path"] = "none.wav"
    object_storage.write_bytes(f"{prefix}/audio.csv", delimited(rows).encode())
    beside = spec(tmp_path, data={"path": f"{prefix}/audio.csv", "root": f"{prefix}/audio"})
    assert [problem.message for problem in problems_of(beside)] == [f"there is no file 'none.wav' in {prefix}/audio"]


def test_audio_in_a_bucket_that_is_not_there_is_one_problem(tmp_path: Path, s3: S3Server) -> None:  # noqa: ARG001
    rows = [{"path": f"{i}.wav", "label": i, "split": "train"} for i in range(5)]
    found = problems_of(task(tmp_path, delimited(rows), root="s3://no-such-bucket-here/audio"))
    assert [problem.field for problem in found if problem.field != "split"] == ["root"]


def test_50_000_rows_are_read(tmp_path: Path) -> None:
    names = [f"{speaker}/{i}.wav" for speaker in range(10) for i in range(100)]
    recordings(tmp_path, *names)
    rows = [
        {
            "path": names[i % 1000],
            "label": str(i % 7),
            "split": SPLITS[i % 10 % 3],
            "start": i // 1000,
            "speaker": i % 9,
        }
        for i in range(50_000)
    ]
    large = task(tmp_path, delimited(rows))
    assert len(read_dataset(large).examples) == 50_000


@pytest.mark.parametrize("name", ["lithuanian_speech_commands", "arabic_speech_commands", "emodb_gender"])
def test_real_recordings(tmp_path: Path, name: str) -> None:
    manifest = SHARED_DATA / "splits" / f"{name}.csv"
    if not manifest.exists():
        pytest.skip(f"needs {manifest}")
    real = spec(tmp_path, data={"path": str(manifest), "root": str(SHARED_DATA / "audio")})
    counts = {
        "lithuanian_speech_commands": (346, 85, 98),
        "arabic_speech_commands": (1107, 123, 370),
        "emodb_gender": (314, 104, 117),
    }
    assert tuple(read_dataset(real).counts.values()) == counts[name]


def test_real_units(tmp_path: Path) -> None:
    if not (SHARED_DATA / "units").exists():
        pytest.skip(f"needs the units in {SHARED_DATA}")
    files = {split: str(SHARED_DATA / f"units/vctk.{split}.tsv") for split in SPLITS}
    dataset = read_dataset(spec(tmp_path, data={"path": files, "label": ["gender", "accent"]}))
    assert [len(classes) for classes in dataset.labels] == [2, 7]
    first = dataset.examples[0]
    assert first.durations is not None
    assert first.speaker == "p312"
    assert dataset.highest_unit == 99
    assert math.fsum(first.durations) > len(first.durations)
