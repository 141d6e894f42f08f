"""Tables as spreadsheets and other programs write them are read, or named for what they are in one problem."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from infra.errors import SpeechPromptError
from task_specs.dataset import read_dataset
from task_specs.example import Clip
from task_specs.problems import ProblemList
from task_specs.readers.table import Wanted
from task_specs.readers.table_file import read_table
from tests.task_specs.files import recordings, task, texts

HEADER = ("path", "label", "split")
ROWS = (("a.wav", "x", "train"), ("b.wav", "y", "train"), ("c.wav", "x", "valid"), ("d.wav", "y", "test"))
OBJECTS = [dict(zip(HEADER, row, strict=True)) for row in ROWS]


def written(
    separator: str, *, header: tuple[str, ...] = HEADER, after: str = "", end: str = "\n", quote: str = ""
) -> str:
    """The rows, with ``after`` behind each."""
    return "".join(separator.join(f"{quote}{cell}{quote}" for cell in row) + after + end for row in (header, *ROWS))


def lines(*objects: object, indent: int | None = None) -> str:
    return "\n".join(json.dumps(one, indent=indent) for one in objects)


READ: dict[str, tuple[str, str | bytes]] = {
    # What parts the cells.
    "semicolons": ("csv", written(";")),
    "semicolons and a byte order mark": ("csv", "\ufeff" + written(";")),
    "tabs under csv": ("csv", written("\t")),
    "bars": ("csv", written("|")),
    "commas under tsv": ("tsv", written(",")),
    "commas under txt": ("txt", written(",")),
    "an ending of nobody's": ("dat", written(";")),
    "spaces after commas": ("csv", written(", ")),
    "single quotes": ("csv", written(",", quote="'")),
    "a line that names the separator": ("csv", "sep=;\r\n" + written(";", end="\r\n")),
    "the same behind a byte order mark": ("csv", "\ufeffsep=;\r\n" + written(";")),
    "the same in quotes": ("csv", '"sep=;"\n' + written(";")),
    "the same with separators behind": ("csv", "SEP=,,,\n" + written(",")),
    "a tab that is named": ("csv", "sep=\t\n" + written("\t")),
    # What spreadsheets leave.
    "columns without a name": ("csv", written(",", after=",,")),
    "rows without a cell": ("csv", written(",", after=",,") + ",,,,\n, ,,,\n"),
    "separators behind the rows only": ("csv", written(",").replace("train\n", "train,,\n")),
    "blank rows above the header": ("csv", ",,\n\n" + written(",")),
    "blank rows between": ("csv", written(",").replace("\n", "\n,,\n")),
    "an index without a name": (
        "csv",
        "".join(f"{i if i else ''},{row}\n" for i, row in enumerate(written(",").split())),
    ),
    "remarks above the header": ("csv", "# made by hand\n# twice\n" + written(",")),
    "a header that is a remark": ("csv", "# " + written(",")),
    "names in another case": ("csv", written(",", header=("Path", " LABEL ", "Split"))),
    "a quoted header behind a byte order mark": (
        "csv",
        '\ufeff"path","label","split"\n' + written(",").split("\n", 1)[1],
    ),
    "two byte order marks": ("csv", "\ufeff\ufeff" + written(",")),
    # Encodings and line ends.
    "UTF-16": ("txt", written("\t", end="\r\n").encode("utf-16")),
    "UTF-16, the other way round": ("csv", ("\ufeff" + written(";")).encode("utf-16-be")),
    "UTF-32": ("csv", written(",").encode("utf-32")),
    "line ends of an old Mac": ("csv", written(",", end="\r")),
    "line ends that were doubled": ("csv", written(",", end="\r\r\n")),
    # Tabs without quoting.
    "quotes that are letters": (
        "tsv",
        'path\ttext\tlabel\tsplit\na.wav\t"Hello\tx\ttrain\nb.wav\t"Oh" he said\ty\ttrain\n'
        'c.wav\t\tx\tvalid\nd.wav\t"\ty\ttest\n',
    ),
    # JSON.
    "an array": ("json", json.dumps(OBJECTS)),
    "an array over several lines": ("json", json.dumps(OBJECTS, indent=2)),
    "an array under jsonl": ("jsonl", json.dumps(OBJECTS)),
    "objects over several lines": ("jsonl", lines(*OBJECTS, indent=1)),
    "objects with commas between": ("json", ",\n".join(map(json.dumps, OBJECTS))),
    "objects on one line": ("jsonl", "".join(map(json.dumps, OBJECTS))),
    "lines under json": ("json", lines(*OBJECTS)),
    "lines under csv": ("csv", lines(*OBJECTS)),
    "lines of an old Mac": ("jsonl", lines(*OBJECTS).replace("\n", "\r")),
    "commas under jsonl": ("jsonl", written(",")),
    "columns": ("json", json.dumps({name: [one[name] for one in OBJECTS] for name in HEADER})),
    "columns of pandas": (
        "json",
        json.dumps({name: {i: one[name] for i, one in enumerate(OBJECTS)} for name in HEADER}),
    ),
    "rows by name": ("json", json.dumps({f"utt{i}": one for i, one in enumerate(OBJECTS)})),
    "rows in a field": ("json", json.dumps({"version": "1", "data": OBJECTS}, indent=1)),
    "not a number": ("jsonl", lines(*({**one, "start": float("nan"), "speaker": float("nan")} for one in OBJECTS))),
    # Split words.
    "other words for the splits": (
        "csv",
        written(",").replace("train", "Training").replace("valid", "dev").replace(",test", ",TEST"),
    ),
    "eval beside dev": ("csv", written(",").replace("valid", "dev").replace(",test", ",eval")),
    "eval beside test": ("csv", written(",").replace("valid", "Eval")),
}


@pytest.mark.parametrize("name", READ)
def test_tables_of_other_programs_are_read(tmp_path: Path, name: str) -> None:
    ending, content = READ[name]
    recordings(tmp_path, *(row[0] for row in ROWS))
    dataset = read_dataset(task(tmp_path, content, name=f"data.{ending}"))
    assert [(example.clip, *example.labels, example.split) for example in dataset.examples] == [
        (Clip(f"{tmp_path}/{path}"), label, split) for path, label, split in ROWS
    ]
    assert all(example.speaker is None for example in dataset.examples)


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.spreadsheet" if name == "mimetype" else "")
    return file.getvalue()


NAMED: dict[str, tuple[str, str | bytes, str]] = {
    "xlsx": ("xlsx", zipped("[Content_Types].xml"), "data.xlsx: is an Excel workbook; save it as 'CSV UTF-8'"),
    "xlsx under csv": ("csv", zipped("xl/workbook.xml"), "data.csv: is an Excel workbook; save it as 'CSV UTF-8'"),
    "xls": ("xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "data.xls: is an Excel workbook; save it"),
    "ods": ("ods", zipped("mimetype"), "data.ods: is an OpenDocument spreadsheet; save it as 'CSV UTF-8'"),
    "zip": ("csv", zipped("data.csv"), "data.csv: is a ZIP archive; unpack it with 'unzip'"),
    "gzip": ("csv.gz", gzip.compress(b"path"), "data.csv.gz: is compressed with gzip; unpack it with 'gunzip --keep'"),
    "xz": ("csv", lzma.compress(b"path"), "data.csv: is compressed with xz; unpack it with 'unxz --keep'"),
    "pickle": ("pkl", pickle.dumps(OBJECTS), "data.pkl: is a pickle, which can run any program and is never read;"),
    "git-LFS": (
        "csv",
        "version https://git-lfs.github.com/spec/v1\noid",
        "data.csv: is a git-LFS pointer; run",
    ),
    "git-LFS as Parquet": ("parquet", "version https://git-lfs.github.com/spec/v1\n", "data.parquet: is a git-LFS"),
    "HTML": ("csv", "\n<!DOCTYPE html>\n<html>", "data.csv: is an HTML page; fetch the file again"),
    "a recording": ("csv", b"RIFF\x24\0\0\0WAVEfmt ", "data.csv: is a recording; name the table that lists"),
    "CSV as Parquet": ("parquet", written(","), "data.parquet: is not a Parquet file; write it again; if it is text,"),
    "Arrow": ("arrow", b"\xff\xff\xff\xff\x10\0\0\0", "data.arrow: is an Arrow stream, as Hugging Face caches it;"),
    "cp1252": ("csv", written(",").replace("x", "é").encode("cp1252"), "data.csv:2: is not UTF-8 text; save it"),
    "UTF-16 unmarked": ("txt", written("\t").encode("utf-16-le"), "data.txt: seems to be UTF-16 text without a byte"),
    "half of UTF-16": ("txt", "päth".encode("utf-16")[:-1], "data.txt: is not UTF-16 text, although it"),
    "typographic quotes": ("csv", written(",", quote="“"), "data.csv:1: the cells are in typographic quotes; replace"),
    "no header": ("csv", written(",").split("\n", 1)[1], "data.csv:1: has no header with the names of its"),
    "spaces": ("txt", written(" "), "data.txt:1: its first row has one cell only, 'path label split'; begin with"),
    "a title": ("csv", "My recordings,,\n" + written(","), "data.csv:1: its first row has one cell only, 'My record"),
    "an open quote": ("csv", written(",").replace("b.wav", '"b.wav'), "data.csv:3: cannot be read from here on ("),
    "two readings": (
        "tsv",
        written("\t").replace("\tx\tt", '\t"x\tt').replace("\ty\tt", '\ty"\tt', 1),
        "data.tsv: its quotes",
    ),
    "broken JSON": ("json", json.dumps(OBJECTS, indent=2)[:-9], "data.json: is not JSON from line 20, column 14 on: "),
    "lists in JSON": (
        "json",
        json.dumps(ROWS, indent=1),
        "data.json: is JSON, but not a list of objects; write one o",
    ),
    "a strange split": (
        "csv",
        written(",").replace("train", "fold1"),
        "data.csv:2: split: 'fold1' is not a split, here",
    ),
    "eval alone": (
        "csv",
        written(",").replace("valid", "eval").replace(",test", ",eval"),
        "data.csv:4: split: 'eval' is not a split, here",
    ),
    "an error of Excel": ("csv", written(",").replace(",x,v", ",#N/A,v"), "data.csv:4: label: '#N/A' is an error"),
    "printed recordings": (
        "csv",
        "audio,label,split\n\"{'path': 'a.wav', 'array': array([0.1])}\",x,train\n",
        "data.csv:2: audio: holds printed recordings",
    ),
    "bytes in JSON": (
        "jsonl",
        lines(*({**one, "path": {"bytes": "UklG", "path": "a"}} for one in OBJECTS)),
        "data.jsonl:1: path: holds recordings, which only",
    ),
    "samples in JSON": (
        "jsonl",
        lines(*({**one, "path": {"array": [0.5], "path": "a"}} for one in OBJECTS)),
        "data.jsonl:1: path: holds recordings as arrays of numbers",
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_cannot_be_read_is_named_in_one_problem(tmp_path: Path, name: str) -> None:
    ending, content, problem = NAMED[name]
    recordings(tmp_path, *(row[0] for row in ROWS))
    [found] = texts(task(tmp_path, content, name=f"data.{ending}"), tmp_path)
    assert found.startswith(problem)


def test_a_directory_is_no_table(tmp_path: Path) -> None:
    spec = task(tmp_path, "")
    (tmp_path / "data.csv").unlink()
    (tmp_path / "data.csv").mkdir()
    assert texts(spec, tmp_path) == ["data.csv: is a directory; name the table in it"]


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("1,5", 1.5),
        ("1,500", 1.5),
        ("0,25", 0.25),
        ("2.5", 2.5),
        ("1e1", 10.0),
        ("NaN", None),
        ("NULL", None),
        ("", None),
    ],
)
def test_seconds_of_a_spreadsheet(tmp_path: Path, cell: str, seconds: float | None) -> None:
    recordings(tmp_path, *(row[0] for row in ROWS))
    content = written(";", header=(*HEADER, "start"), after="").replace("train\n", f"train;{cell}\n")
    content = content.replace("valid\n", "valid;\n").replace("test\n", "test;\n")
    assert {one.clip and one.clip.start for one in read_dataset(task(tmp_path, content)).split("train")} == {seconds}


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (("3.0", "4", "3", "4.0"), ("3", "4")),
        (("3.0", "4.0", "3.0", "4.0"), ("3.0", "4.0")),
        (("03", "3", "03", "3"), ("03", "3")),
        (("1.10", "1.1", "1.10", "1.1"), ("1.1", "1.10")),
        (("-1.0", "-1", "2", "2"), ("-1", "2")),
    ],
)
def test_numbers_that_became_decimals_are_one_label(
    tmp_path: Path, cells: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    rows = [f"{i},{label},{split}" for split in ("train", "valid", "test") for i, label in enumerate(cells)]
    dataset = read_dataset(task(tmp_path, "units,label,split\n" + "\n".join(rows)))
    assert dataset.labels == (labels,)
    assert len(dataset.notes) == (len(set(cells)) > len(labels))


@pytest.mark.parametrize("cell", ["[71, 12, 4]", "71,12,4", "(71, 12, 4)", "[71 12\n  4]", "71.0 12.0 4.0"])
def test_units_that_were_printed(tmp_path: Path, cell: str) -> None:
    rows = "".join(f'"{cell}",{label},{split}\n' for label in "xy" for split in ("train", "valid", "test"))
    dataset = read_dataset(task(tmp_path, f"units,label,split\n{rows}"))
    assert {example.units for example in dataset.examples} == {(71, 12, 4)}


def test_units_that_were_shortened_are_named(tmp_path: Path) -> None:
    found = texts(task(tmp_path, "units,label,split\n[1 2 ... 3 4],x,train\n"), tmp_path)
    assert found[0].startswith("data.csv:2: units: is a shortened print of a list;")


WANTED = Wanted.of(["path", "label", "split"])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(TEXT, TEXT, TEXT).filter(lambda row: any(map(str.strip, row))), max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["csv", "tsv", "txt"]),
)
def test_what_csv_writes_is_read_back(
    rows: list[tuple[str, ...]], separator: str, quoting: Any, end: str, encoding: str, ending: str
) -> None:
    if end == "\r":
        quoting = csv.QUOTE_ALL  # csv quotes, unasked, the line feeds of its own line ending only (until Python 3.13)
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end).writerows([HEADER, *rows])
    problems = ProblemList()
    table = read_table(f"/data.{ending}", WANTED, problems, data=file.getvalue().encode(encoding))
    assume(not any("ambiguous" in str(problem) for problem in problems.collected()))
    assert table is not None
    assert table.columns == HEADER
    assert [tuple(row) for _, row in table.rows] == rows
    assert not problems


PIECES = st.sampled_from(
    [
        b"path",
        b"label",
        b"split",
        b",",
        b";",
        b"\t",
        b"|",
        b"\n",
        b"\r",
        b'"',
        b"'",
        b"sep=",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"\0",
        b"\xff",
        b"\xfe",
        b"\xef\xbb\xbf",
        b"#",
        b" ",
        b"train",
        b"1",
        b"NaN",
        b"PAR1",
        b"\x1f\x8b",
        b"PK\x03\x04",
    ]
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=80), st.lists(PIECES, max_size=30).map(b"".join)),
    st.sampled_from(["csv", "tsv", "txt", "json", "jsonl", "parquet", "scp", ""]),
)
def test_any_bytes_are_a_table_or_a_problem(data: bytes, ending: str) -> None:
    problems = ProblemList()
    try:
        table = read_table(f"/data.{ending}", WANTED, problems, data=data)
    except SpeechPromptError:
        return
    if table is None:
        assert problems
        return
    assert table.complete or problems
    assert all(len(row) == len(table.columns) for _, row in table.rows)


def test_many_columns_and_keys_take_no_square_of_memory_and_time() -> None:
    header = ",".join(f"c{i}" for i in range(50_000))
    assert read_table("/data.csv", WANTED, ProblemList(), data=f"{header},path\n".encode())
    keys = "\n".join(json.dumps({f"k{i}": 1, "path": "a"}) for i in range(5_000))
    table = read_table("/data.jsonl", WANTED, ProblemList(), data=keys.encode())
    assert table is not None
    assert len(table.header) == 5_001
    assert sum(len(row) for _, row in table.rows) == 5_000
