"""Manifests of other toolkits: what they mean is read, or named in one problem before any row is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from task_specs.dataset import read_dataset
from tests.task_specs.files import Rows, delimited, recordings, task, texts

SPLITS = ("train", "train", "valid", "test")


def nemo(**fields: Any) -> str:
    rows = [
        {"audio_filepath": f"{i}.wav", "label": "xyxy"[i], "split": split, **fields} for i, split in enumerate(SPLITS)
    ]
    return "\n".join(map(json.dumps, rows))


@pytest.mark.parametrize(
    ("fields", "span"),
    [
        ({}, (None, None)),
        ({"offset": 1.5, "duration": 2.0}, (1.5, 3.5)),
        ({"offset": 0.0, "duration": 1}, (None, 1.0)),
        ({"duration": 2.5}, (None, 2.5)),
        ({"offset": None, "duration": 0.0}, (None, None)),
        ({"offset": 1, "duration": -1}, (1.0, None)),
        ({"offset": 1, "duration": float("nan")}, (1.0, None)),
        ({"offset": 1, "duration": 2, "start": 3, "end": 4}, (3.0, 4.0)),
    ],
)
@pytest.mark.parametrize("columns", [{}, {"path": "audio_filepath"}])
def test_nemo(tmp_path: Path, fields: dict[str, Any], span: tuple[float | None, float | None], columns: Any) -> None:
    recordings(tmp_path, *(f"{i}.wav" for i in range(4)))
    dataset = read_dataset(task(tmp_path, nemo(**fields), name="manifest.json", columns=columns))
    clips = [example.clip for example in dataset.examples]
    assert [clip.uri for clip in clips if clip] == [f"{tmp_path}/{i}.wav" for i in range(4)]
    assert {(clip.start, clip.end) for clip in clips if clip} == {span}


def test_a_slot_by_another_column(tmp_path: Path) -> None:
    recordings(tmp_path, *(f"{i}.wav" for i in range(4)))
    content = nemo().replace('"label"', '"Command"')
    dataset = read_dataset(task(tmp_path, content, name="manifest.json", label="command"))
    assert (dataset.slots, dataset.labels) == (("command",), (("x", "y"),))


def rows(**fields: Any) -> Rows:
    return [
        {"label": "xyxy"[i], "split": split, **{name: str(value).format(i) for name, value in fields.items()}}
        for i, split in enumerate(SPLITS)
    ]


def test_units_go_before_the_names_of_others(tmp_path: Path) -> None:
    for name in ("audio", "file_name", "audio_filepath"):
        content = delimited(rows(**{name: "{}.wav", "units": "1 2"}))
        assert {one.units for one in read_dataset(task(tmp_path, content)).examples} == {(1, 2)}


READ: dict[str, tuple[str, str]] = {
    "SpeechBrain": ("csv", delimited(rows(ID="utt{}", duration="1.0", wav="{}.wav"))),
    "SpeechBrain, with its placeholder": ("csv", delimited(rows(ID="utt{}", duration="1.0", wav="$data_root/{}.wav"))),
    "Common Voice": ("tsv", delimited(rows(client_id="c{}", path="{}.wav", sentence="hi"), "\t")),
    "AudioFolder of Hugging Face": ("csv", delimited(rows(file_name="{}.wav"))),
    "Hugging Face, by path": (
        "jsonl",
        "\n".join(json.dumps({**row, "audio": {"bytes": None, "path": f"{i}.wav"}}) for i, row in enumerate(rows())),
    ),
    "Hugging Face, by name": ("csv", delimited(rows(audio="{}.wav"))),
}


@pytest.mark.parametrize("name", READ)
def test_others_whose_columns_have_one_meaning(tmp_path: Path, name: str) -> None:
    ending, content = READ[name]
    recordings(tmp_path, *(f"{i}.wav" for i in range(4)))
    dataset = read_dataset(task(tmp_path, content, name=f"data.{ending}"))
    assert [example.clip and example.clip.uri for example in dataset.examples] == [
        f"{tmp_path}/{i}.wav" for i in range(4)
    ]
    assert [example.speaker for example in dataset.examples] == [
        f"c{i}" if name == "Common Voice" else None for i in range(4)
    ]


CUT = {
    "id": "cut-1",
    "start": 0,
    "duration": 3,
    "channel": 0,
    "supervisions": [{"id": "s", "recording_id": "r", "start": 0, "duration": 3, "speaker": "x"}],
    "recording": {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "a.wav"}], "sampling_rate": 16000},
    "type": "MonoCut",
}
NAMED: dict[str, tuple[str, str, str]] = {
    "cuts": ("jsonl", "\n".join([json.dumps(CUT)] * 50), "data.jsonl:1: holds cuts of lhotse, whose labels and paths"),
    "one cut": (
        "jsonl",
        json.dumps(CUT),
        "data.jsonl:1: holds cuts of lhotse, whose",
    ),
    "recordings": (
        "jsonl",
        json.dumps(CUT["recording"]),
        "data.jsonl:1: holds recordings of lhotse, which",
    ),
    "supervisions": (
        "jsonl",
        json.dumps({"id": "s", "recording_id": "r", "start": 0, "duration": 3, "text": "yes"}),
        "data.jsonl:1: holds supervisions of lhotse, which name no audio files;",
    ),
    "SpeechBrain's samples": (
        "csv",
        delimited(rows(ID="utt{}", duration="1.0", wav="{}.wav", start="0", stop="16000")),
        "data.csv:1: counts start and stop in samples, as SpeechBrain does; write a manifest",
    ),
    "fairseq": ("tsv", "/data/x\na.wav\t16000\nb.wav\t32000\n", "data.tsv:1: is a manifest of fairseq (a directory, "),
    "Audacity": ("txt", "0.000000\t1.500000\tyes\n1.5\t2.0\tno\n", "data.txt:1: is a list of labels as Audacity exp"),
    "Kaldi": ("scp", "utt1 /x/a.wav\nutt2 /x/b.wav\n", "data.scp: is a list of Kaldi (a name, then its value);"),
    "Kaldi, piped": (
        "txt",
        "utt1 sph2pipe -f wav a.sph |\n",
        "data.txt:1: is a list of Kaldi (a name",
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_others_that_are_no_manifests_of_labels(tmp_path: Path, name: str) -> None:
    ending, content, problem = NAMED[name]
    [found] = texts(task(tmp_path, content, name=f"data.{ending}"), tmp_path)
    assert found.startswith(problem)
