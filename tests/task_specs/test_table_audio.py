"""Recordings inside Parquet tables, as Hugging Face keeps them."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import soundfile
from pyarrow import parquet

from infra import object_storage
from infra.errors import DatasetError, ObjectNotFound, SpeechPromptError
from task_specs.audio_policy import AudioPolicy
from task_specs.dataset import read_dataset
from task_specs.example import Clip
from task_specs.problems import ProblemList
from task_specs.readers import parquet_table
from task_specs.readers.table import Wanted
from task_specs.readers.table_file import read_table
from task_specs.table_audio import TableRecording, in_table, read_recording, reading_order, recording_uri
from tests.fixtures.s3_server import S3Server
from tests.task_specs.files import recordings, spec, task, texts
from workers.speech.audio import RejectedAudio
from workers.speech.reading import read_audio
from workers.speech.tokenize_batch import load_clip

AUDIO = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
SPLITS = ("train", "train", "valid", "test")


def table(
    count: int = 12,
    *,
    stored: Callable[[int], bytes | None] = lambda i: b"RIFF%d" % i,
    classes: Any = None,
    **columns: Any,
) -> pyarrow.Table:
    """Rows whose recordings are ``stored(0)`` and so on."""
    cells = [{"bytes": stored(i), "path": f"{i}.wav"} for i in range(count)]
    made = pyarrow.table(
        {
            "audio": pyarrow.array(cells, AUDIO),
            "label": [i // 4 % 2 for i in range(count)],
            "split": [SPLITS[i % 4] for i in range(count)],
            **columns,
        }
    )
    features = {"audio": {"_type": "Audio"}, "label": {"_type": "ClassLabel", "names": classes}}
    return (
        made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}) if classes else made
    )


def encoded(made: pyarrow.Table, **settings: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(made, file, **settings)
    return file.getvalue()


def wave(seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.5, 0.5, 1600), 16000, format="WAV")
    return file.getvalue()


STORED: dict[str, tuple[pyarrow.Table, dict[str, Any]]] = {
    "one row group": (table(), {}),
    "several row groups": (table(), {"row_group_size": 5}),
    "no statistics": (table(), {"write_statistics": False, "row_group_size": 7}),
    "zstd": (table(), {"compression": "zstd", "use_dictionary": False}),
    "a path of somebody's machine beside": (table(path=[f"/home/x/{i}.mp3" for i in range(12)]), {}),
    "bytes without a path": (table().set_column(0, "audio", pyarrow.array([b"RIFF%d" % i for i in range(12)])), {}),
    "a large kind of bytes": (
        table().set_column(0, "audio", table()["audio"].cast(pyarrow.struct([("bytes", pyarrow.large_binary())]))),
        {},
    ),
}


@pytest.mark.parametrize("name", STORED)
def test_recordings_in_a_table_are_read(tmp_path: Path, name: str) -> None:
    made, settings = STORED[name]
    dataset = read_dataset(task(tmp_path, encoded(made, **settings), name="data.parquet", root="not-there"))
    clips = [example.clip for example in dataset.examples]
    assert clips == [Clip(f"{tmp_path}/data.parquet#row={row}&column=audio") for row in range(1, 13)]
    assert [read_recording(clip.uri) for clip in clips if clip] == [b"RIFF%d" % i for i in range(12)]


def test_classes_have_their_names_and_no_label_is_a_problem(tmp_path: Path) -> None:
    made = table(classes=["yes", "no"])
    assert read_dataset(task(tmp_path, encoded(made), name="data.parquet")).labels == (("no", "yes"),)
    unlabelled = made.set_column(1, "label", pyarrow.array([-1, *made["label"].to_pylist()[1:]]))
    [found] = texts(task(tmp_path, encoded(unlabelled), name="data.parquet"), tmp_path)
    assert found == "data.parquet:1: label: is empty; write a label, or remove the row"
    unnamed = made.set_column(1, "label", pyarrow.array([7] * 12)).replace_schema_metadata(made.schema.metadata)
    [found] = texts(task(tmp_path, encoded(unnamed), name="data.parquet"), tmp_path)
    assert found.startswith("data.parquet:1: label: 7 is none of the numbers of its 2 classes, nor are 11 others;")


@pytest.mark.parametrize("kept", [0, 3])
def test_where_no_bytes_are_stored_the_path_counts(tmp_path: Path, kept: int) -> None:
    recordings(tmp_path / "audio", *(f"{i}.wav" for i in range(12)))
    made = table(stored=lambda i: b"RIFF" if i < kept else None)
    dataset = read_dataset(task(tmp_path, encoded(made), name="data.parquet", root="audio"))
    for i, example in enumerate(dataset.examples):
        assert example.clip is not None
        assert in_table(example.clip.uri) == (i < kept)
        assert in_table(example.clip.uri) or example.clip.uri == f"{tmp_path}/audio/{i}.wav"


def test_one_table_a_split_and_copies_among_them(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.parquet").write_bytes(encoded(table().drop_columns("split")))
    files = {split: f"{split}.parquet" for split in ("train", "valid", "test")}
    dataset = read_dataset(spec(tmp_path, data={"path": files, "duplicates": "keep"}))
    assert dataset.counts == {"train": 12, "valid": 12, "test": 12}
    assert dataset.notes[0].startswith(
        "24 of 36 clips are copies of others, byte for byte; 12 of 12 valid clips are also"
    )


def test_recordings_are_decoded_as_files_are(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(encoded(table(3, stored=wave), row_group_size=2))
    uri = recording_uri(f"{tmp_path}/data.parquet", 3, "audio")
    clip = Clip(uri, 0.01, 0.05)
    assert len(load_clip(read_audio(uri), clip, sample_rate=16000, policy=AudioPolicy(min_seconds=0.01))) == 640
    with pytest.raises(RejectedAudio, match=r"data\.parquet#row=3&column=audio: unreadable"):
        load_clip(b"no audio", clip, sample_rate=16000, policy=AudioPolicy())


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        (13, "audio", "has no row 13"),
        (1, "label", "no longer holds the recordings it did"),
        (1, "nothing", "row 1 of .* cannot be read"),
        (2, "audio", "row 2 of .* holds no recording"),
    ],
)
def test_what_is_not_there_is_quarantined_with_its_row(tmp_path: Path, row: int, column: str, message: str) -> None:
    (tmp_path / "data.parquet").write_bytes(encoded(table(stored=lambda i: None if i == 1 else b"RIFF")))
    uri = recording_uri(f"{tmp_path}/data.parquet", row, column)
    with pytest.raises(DatasetError, match=message):
        read_recording(uri)
    with pytest.raises(RejectedAudio, match=message):
        read_audio(uri)


def test_a_table_that_is_gone_or_replaced(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    uri = recording_uri(str(file), 2, "audio")
    with pytest.raises(ObjectNotFound):
        read_recording(uri)
    with pytest.raises(RejectedAudio, match="missing"):
        read_audio(uri)
    file.write_bytes(encoded(table()))
    assert read_recording(uri) == b"RIFF1"
    file.write_bytes(encoded(table(stored=lambda i: b"another %d" % i)))
    assert read_recording(uri) == b"another 1"


def test_a_table_in_s3(tmp_path: Path, s3: S3Server) -> None:
    prefix = s3.fresh_prefix()
    object_storage.write_bytes(f"{prefix}/data.parquet", encoded(table(), row_group_size=5))
    dataset = read_dataset(spec(tmp_path, data={"path": f"{prefix}/data.parquet"}))
    clips = [example.clip for example in dataset.examples]
    assert [read_recording(clip.uri) for clip in clips if clip] == [b"RIFF%d" % i for i in range(12)]
    with pytest.raises(ObjectNotFound):
        read_recording(recording_uri(f"{prefix}/none.parquet", 1, "audio"))


def test_names_of_columns_and_the_order_of_reading() -> None:
    uri = recording_uri("s3://b/a.parquet", 12, "my audio/ž#&")
    assert uri == "s3://b/a.parquet#row=12&column=my%20audio%2F%C5%BE%23%26"
    assert in_table(uri)
    assert reading_order(uri, 5) == ("s3://b/a.parquet", 2)
    assert not in_table("/data/a.parquet")
    assert not in_table("/data/a#row=0&column=b")
    assert reading_order("/data/a.wav") == reading_order("/data/b.wav") < reading_order(uri)


BIG = hashlib.shake_256(b"").digest(1_000_000)
REFUSED: dict[str, tuple[pyarrow.Table, str]] = {
    "decoded samples": (
        table().set_column(0, "audio", pyarrow.array([{"array": [0.5], "path": "x"}] * 12)),
        "data.parquet:1: audio: holds recordings as arrays of numbers;",
    ),
    "a row group of many": (
        table(),
        "data.parquet: audio: has 0 MiB of recordings in one row",
    ),
    "a list of very many": (
        pyarrow.table({"units": [[0] * 2000], "label": ["x"], "split": ["train"]}),
        "data.parquet: has 2,002 values in",
    ),
    "very many rows": (
        pyarrow.table({"label": pyarrow.nulls(10_000_001)}),
        "data.parquet: has more",
    ),
    "two columns of a name": (
        pyarrow.Table.from_arrays([pyarrow.array(["x"])] * 2, ["label", "label"]),
        "data.parquet: label: there are two columns of this name",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_takes_too_much_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, problem = REFUSED[name]
    if name == "a row group of many":
        monkeypatch.setattr(parquet_table, "MAX_GROUP_BYTES", 50)
    if name == "a list of very many":
        monkeypatch.setattr(parquet_table, "MAX_VALUES", 2001)
    [found] = texts(task(tmp_path, encoded(made), name="data.parquet"), tmp_path)
    assert found.startswith(problem)


def test_what_a_file_holds_once_is_in_memory_once(tmp_path: Path) -> None:
    """A dictionary makes gigabytes of a megabyte where each row gets a copy."""
    cells = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 4000, pyarrow.int32()), pyarrow.array([BIG]))
    audio = pyarrow.StructArray.from_arrays([cells], ["bytes"])
    text = pyarrow.DictionaryArray.from_arrays(cells.indices, pyarrow.array(["x" * 1_000_000]))
    made = pyarrow.table({"audio": audio, "label": text})
    (tmp_path / "data.parquet").write_bytes(encoded(made, store_schema=False, dictionary_pagesize_limit=1 << 22))
    before = pyarrow.total_allocated_bytes()
    found = read_table(f"{tmp_path}/data.parquet", Wanted.of(["label"], recordings=["audio"]), ProblemList())
    assert found is not None
    assert len({id(row[1]) for _, row in found.rows}) == 1
    assert read_recording(recording_uri(f"{tmp_path}/data.parquet", 4000, "audio")) == BIG
    assert pyarrow.total_allocated_bytes() - before < 50_000_000


def test_damaged_tables_are_problems(tmp_path: Path) -> None:
    """Reading one never ends in anything but an error of ours, and never ends the process."""
    dice = random.Random(5)
    wanted = Wanted.of(["label", "split", "units"], recordings=["audio"])
    seeds = [
        encoded(
            table(stored=lambda i: b"RIFF" if i % 3 else None, units=[[1, 2]] * 12),
            compression=kind,
            row_group_size=size,
        )
        for kind, size in (("snappy", 5), ("zstd", 20), ("none", 20))
    ]
    file = tmp_path / "data.parquet"
    for _ in range(80):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.choice([1, 1, 3])):
            data[dice.randrange(len(data))] = dice.randrange(256)
        file.write_bytes(data)
        problems = ProblemList()
        found = read_table(str(file), wanted, problems)
        assert found is not None or problems
        for _, row in found.rows if found is not None else ():
            for cell in row:
                if isinstance(cell, TableRecording):
                    with suppress(SpeechPromptError):
                        read_recording(cell.uri)
